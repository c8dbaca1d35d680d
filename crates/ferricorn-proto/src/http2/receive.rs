//! What comes on streams (RFC 9113 sections 5.1, 6.1 and 8.1): requests begin, their bodies come and are taken, and the
//! peer gets its window back as they are. This file reads no head of a frame.

use std::rc::Rc;

use asgi::Gather;

use super::bounds::Bound;
use super::closing::Draining;
use super::closing::Fate;
use super::error::{ConnectionError, ErrorCode};
use super::frame::{self, HEAD, Head};
use super::input::{Advance, Data, Reading};
use super::request::{Facts, Read};
use super::settings::DEFAULT_WINDOW;
use super::websocket::Feed;
use super::{Connection, Now};
use crate::error::RequestError;
use crate::exchange::Exchange;
use crate::websocket::{Handshake, WebSocket};

impl<B: AsRef<[u8]>, G: Gather> Connection<B, G> {
    /// Takes what has come of a request's body, and whether that is all there will be. None: nothing has come since. The
    /// peer may send as much again.
    pub fn take_body(&mut self, stream: u32, now: &Now<'_>) -> Option<(G, bool)> {
        let slot = self.streams.find(stream)?;
        let stream = &mut self.streams[slot];
        let receive = &mut stream.receive;
        let has_news = !receive.body.is_empty() || receive.ended;
        // Of a body that was given up, nobody can tell whether this is all.
        if receive.end_given || receive.unwanted || !has_news || stream.websocket.is_some() {
            return None;
        }
        let taken = std::mem::take(&mut receive.body);
        let length = taken.len() as u32;
        receive.asked = false;
        receive.end_given = receive.ended;
        let end = receive.ended;
        stream.body_due = None;
        self.give_back(slot, length);
        self.note_waiting(now);
        Some((taken, end))
    }

    /// The application called `receive`: the next part of the body is wanted. The first time, a client that waits for it is
    /// told to send, unless it was answered already (HTTP-12).
    pub fn want_body(&mut self, stream: u32, now: &Now<'_>) {
        let Some(slot) = self.streams.find(stream) else { return };
        let stream = &mut self.streams[slot];
        let receive = &mut stream.receive;
        if receive.ended || stream.reset || self.end_of_input || std::mem::replace(&mut receive.asked, true) {
            return;
        }
        if receive.body.is_empty() {
            let due = Some(now.instant + self.limits.request_body);
            stream.body_due = due;
            self.note_due(due);
        }
        let stream = &mut self.streams[slot];
        if stream.expects_continue && stream.exchange.is_unanswered() {
            stream.expects_continue = false;
            self.interim(slot, 100, &[]);
            self.note_waiting(now);
        }
    }

    /// A whole header block: a request, or trailers. It is decoded in any case, for the next one hangs on it.
    pub(super) fn header_block(
        &mut self,
        head: Head,
        depends_on_itself: bool,
        block: &[u8],
        now: &Now<'_>,
    ) -> Result<Advance, ConnectionError> {
        let id = head.stream;
        if let Some(slot) = self.streams.find(id) {
            return self.trailers_block(slot, head, block, now);
        }
        if id.is_multiple_of(2) || id <= self.last_stream {
            return match self.streams.past(id) {
                // It was on its way.
                Some(true) => self.skip(block),
                Some(false) => Err(ConnectionError::ClosedStream),
                None => Err(ConnectionError::StreamOrder),
            };
        }
        if self.draining == Draining::Last {
            return self.skip(block);
        }
        self.last_stream = id;
        if self.is_full() {
            self.bounds.count(Bound::Refused, now.instant)?;
            self.refuse_stream(id, ErrorCode::RefusedStream)?;
            return self.skip(block);
        }
        if depends_on_itself {
            self.stream_error(id, ErrorCode::ProtocolError)?;
            return self.skip(block);
        }
        let limit = self.http2.max_header_list_size as usize;
        let read = self.requests.read(block, limit, self.limits.websocket.is_some());
        self.note_request();
        match read.map_err(ConnectionError::Compression)? {
            Read::Request { repeated } => self.open(id, head.has(frame::END_STREAM), repeated, now),
            Read::Refused(error) => {
                let slot = self.open_refused(id, head.has(frame::END_STREAM));
                self.reject(slot, error, now)
            }
        }
    }

    /// Whether no further stream may be open. Streams that the client has reset count until their calls have ended; those
    /// that have been answered do not, but there is an end to that.
    fn is_full(&self) -> bool {
        let most = self.http2.max_concurrent_streams as usize;
        if self.open as usize >= most {
            return true;
        }
        self.streams.len() >= most
            && (self.streams.len() >= 8 * most
                || self.streams.iter().filter(|stream| !stream.is_closed() || stream.abandoned).count() >= most)
    }

    /// A block that says nothing.
    fn skip(&mut self, block: &[u8]) -> Result<Advance, ConnectionError> {
        self.requests.skip(block).map_err(ConnectionError::Compression)?;
        Ok(Advance::Consumed(0))
    }

    fn insert(&mut self, id: u32, ended: bool) -> usize {
        let slot = self.streams.insert(id);
        self.open += 1;
        let stream = &mut self.streams[slot];
        stream.window = i64::from(self.peer.initial_window);
        stream.receive.window = self.initial_window;
        stream.receive.ended = ended;
        stream.counted = true;
        slot
    }

    /// The record of a request that is not served.
    fn open_refused(&mut self, id: u32, ended: bool) -> usize {
        let slot = self.insert(id, ended);
        let stream = &mut self.streams[slot];
        stream.exchange = Exchange::open(self.requests.request().is_head(), false);
        stream.released = true;
        slot
    }

    fn open(&mut self, id: u32, ended: bool, repeated: bool, now: &Now<'_>) -> Result<Advance, ConnectionError> {
        let facts = self.requests.request().facts;
        let error = self.check(&facts, ended);
        let handshake = match &self.limits.websocket {
            Some(limits) if facts.websocket && error.is_ok() => {
                Some(Handshake::read_connect(&self.requests.request().headers, limits).map(|read| (read, limits)))
            }
            _ => None,
        };
        let websocket = match (error, handshake.transpose()) {
            (Ok(()), Ok(handshake)) => {
                handshake.map(|(read, limits)| Box::new(WebSocket::new(read, Rc::clone(limits))))
            }
            (Err(error), _) | (_, Err(error)) => {
                let slot = self.open_refused(id, ended);
                return self.reject(slot, error, now);
            }
        };
        let slot = self.insert(id, ended);
        let stream = &mut self.streams[slot];
        stream.exchange = if websocket.is_some() {
            Exchange::open_websocket()
        } else {
            Exchange::open(self.requests.request().is_head(), facts.te_trailers)
        };
        stream.websocket = websocket;
        stream.te_trailers = facts.te_trailers;
        stream.expects_continue = facts.expects_continue && !ended;
        // PRIORITY_UPDATE has the last word, also where it came first (RFC 9218 section 7).
        stream.priority = self.announced.take(id).unwrap_or(facts.priority);
        stream.receive.length = facts.content_length;
        stream.receive.end_given = ended;
        Ok(Advance::Request(0, slot, repeated))
    }

    /// What is wrong between a request and its body (section 8.1.1).
    fn check(&self, facts: &Facts, ended: bool) -> Result<(), RequestError> {
        match facts.content_length {
            Some(1..) if ended => Err(RequestError::BodyLength),
            Some(length) if self.limits.body.is_some_and(|limit| length > limit) => Err(RequestError::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// A second header block of a stream ends its request (section 8.1); what it says is for nobody (HTTP-03).
    fn trailers_block(
        &mut self,
        slot: usize,
        head: Head,
        block: &[u8],
        now: &Now<'_>,
    ) -> Result<Advance, ConnectionError> {
        let limit = self.http2.max_header_list_size as usize;
        let valid = self.requests.read_trailers(block, limit).map_err(ConnectionError::Compression)?;
        let stream = &self.streams[slot];
        if stream.reset {
            self.after_reset(slot)?;
            return Ok(Advance::Consumed(0));
        }
        if stream.receive.ended {
            self.stream_error(head.stream, ErrorCode::StreamClosed)?;
        } else if !head.has(frame::END_STREAM) || !valid {
            return self.reject(slot, RequestError::Trailer, now);
        } else {
            return self.handle_end(slot, now);
        }
        Ok(Advance::Consumed(0))
    }

    /// The head of a DATA frame: whose it is, and whether it may be so long (section 6.1). Its bytes are taken as they come.
    pub(super) fn data_head(
        &mut self,
        head: Head,
        input: &mut [u8],
        now: &Now<'_>,
    ) -> Result<Advance, ConnectionError> {
        if head.stream == 0 {
            return Err(ConnectionError::StreamNumber);
        }
        let (skipped, padding) = match input.get(HEAD) {
            _ if !head.has(frame::PADDED) => (HEAD, 0),
            Some(&padding) if head.length > usize::from(padding) => (HEAD + 1, usize::from(padding)),
            _ if head.length == 0 => return Err(ConnectionError::FrameSize),
            Some(_) => return Err(ConnectionError::Padding),
            None => return Ok(Advance::Starved),
        };
        let left = head.length + HEAD - skipped - padding;
        let length = head.length as u32;
        if left == 0 && !head.has(frame::END_STREAM) {
            self.bounds.count(Bound::Empty, now.instant)?;
        }
        self.receive_window -= i64::from(length);
        if self.receive_window < 0 {
            return Err(ConnectionError::WindowExceeded);
        }
        let wanted = self.accept_data(head, left as u64)?;
        // What is no data is done with.
        let overhead = length - left as u32;
        match wanted {
            Ok(slot) => self.give_back(slot, overhead),
            Err(_) => self.credit(overhead),
        }
        let stream = if wanted.is_ok() { head.stream } else { 0 };
        let data = Data { stream, left, padding, end: head.has(frame::END_STREAM) };
        self.reading = Reading::Data(data);
        if let Err(Some((slot, error))) = wanted {
            return Ok(self.reject(slot, error, now)?.behind(skipped));
        }
        Ok(self.data(data, &mut input[skipped..], now)?.behind(skipped))
    }

    /// Whether somebody wants the data: the index of its stream. Else, what is to be said about it.
    fn accept_data(
        &mut self,
        head: Head,
        size: u64,
    ) -> Result<Result<usize, Option<(usize, RequestError)>>, ConnectionError> {
        let Some(slot) = self.streams.find(head.stream) else {
            self.check_not_idle(head.stream)?;
            // What our last GOAWAY leaves out is let go (section 6.8).
            if head.stream <= self.last_stream && self.streams.past(head.stream) != Some(true) {
                self.stream_error(head.stream, ErrorCode::StreamClosed)?;
            }
            return Ok(Err(None));
        };
        let stream = &mut self.streams[slot];
        if stream.reset {
            self.after_reset(slot)?;
            return Ok(Err(None));
        }
        if stream.receive.ended {
            self.stream_error(head.stream, ErrorCode::StreamClosed)?;
            return Ok(Err(None));
        }
        if stream.receive.unwanted {
            stream.receive.ended = head.has(frame::END_STREAM);
            return Ok(Err(None));
        }
        let receive = &mut stream.receive;
        receive.window -= head.length as i64;
        if receive.window < 0 {
            self.stream_error(head.stream, ErrorCode::FlowControlError)?;
            return Ok(Err(None));
        }
        receive.total += size;
        let error = if receive.length.is_some_and(|length| receive.total > length) {
            RequestError::BodyLength
        } else if stream.websocket.is_none() && self.limits.body.is_some_and(|limit| receive.total > limit) {
            RequestError::BodyTooLarge
        } else {
            return Ok(Ok(slot));
        };
        Ok(Err(Some((slot, error))))
    }

    /// Bytes of a DATA frame.
    pub(super) fn data(&mut self, mut data: Data, input: &mut [u8], now: &Now<'_>) -> Result<Advance, ConnectionError> {
        let bytes = data.left.min(input.len());
        let padding = data.padding.min(input.len() - bytes);
        if bytes + padding == 0 && data.left + data.padding > 0 {
            return Ok(Advance::Starved);
        }
        data.left -= bytes;
        data.padding -= padding;
        let is_whole = data.left + data.padding == 0;
        self.reading = if is_whole { Reading::Frames } else { Reading::Data(data) };
        let slot = if data.stream == 0 { None } else { self.streams.find(data.stream) };
        let slot = slot.filter(|&slot| !self.streams[slot].receive.unwanted);
        let mut violation = None;
        match slot {
            Some(slot) if data.end && data.left == 0 && self.streams[slot].websocket.is_some() => {
                // What its session says now may be its last as well.
                self.streams[slot].receive.ended = true;
                violation = self.take_frames_of(slot, &mut input[..bytes], now);
            }
            Some(slot) if bytes > 0 && self.streams[slot].websocket.is_some() => {
                violation = self.take_frames_of(slot, &mut input[..bytes], now);
            }
            Some(slot) if bytes > 0 => self.take_data(slot, input, bytes, data.left),
            _ => self.credit(bytes as u32),
        }
        let consumed = bytes + padding;
        match slot.and_then(|_| self.streams.find(data.stream)) {
            Some(slot) if is_whole && data.end && !self.streams[slot].reset => {
                let ended = self.handle_end(slot, now)?.behind(consumed);
                Ok(match (violation, ended) {
                    (Some(error), Advance::Consumed(bytes)) => Advance::Violation(bytes, error),
                    (_, ended) => ended,
                })
            }
            _ => Ok(violation.map_or(Advance::Consumed(consumed), |error| Advance::Violation(consumed, error))),
        }
    }

    fn take_frames_of(&mut self, slot: usize, bytes: &mut [u8], now: &Now<'_>) -> Feed {
        let violation = self.take_frames(slot, bytes, now);
        // What it says may be its last: the next frame is to find the stream as it would in another read.
        self.pump(now);
        violation
    }

    /// The first `bytes` of `input` belong to the body of this stream; so many of their frame are `left`.
    fn take_data(&mut self, slot: usize, input: &[u8], bytes: usize, left: usize) {
        let stream = &mut self.streams[slot];
        let receive = &mut stream.receive;
        if receive.asked && receive.body.is_empty() {
            // What came with it is likely to be more of it, and is given out with it.
            let behind = receive.length.map_or(u64::MAX, |length| length - receive.total + left as u64);
            let behind = usize::try_from(behind).unwrap_or(usize::MAX);
            receive.body.reserve(bytes + behind.min(input.len() - bytes));
        }
        receive.body.extend_from_slice(&input[..bytes]);
        // Whoever waits is woken, and asks again if that was not all; its time begins anew then.
        if receive.asked {
            stream.body_due = None;
            self.note_changed(slot);
        }
    }

    /// END_STREAM came: the body is whole.
    fn handle_end(&mut self, slot: usize, now: &Now<'_>) -> Result<Advance, ConnectionError> {
        let stream = &mut self.streams[slot];
        stream.receive.ended = true;
        if stream.receive.length.is_some_and(|length| length != stream.receive.total) && !stream.receive.unwanted {
            return self.reject(slot, RequestError::BodyLength, now);
        }
        stream.body_due = None;
        stream.expects_continue = false;
        if stream.websocket.is_some() {
            self.end_frames(slot, now);
            self.pump(now);
        }
        if self.streams[slot].receive.asked {
            self.note_changed(slot);
        }
        self.settle_stream(slot);
        Ok(Advance::Consumed(0))
    }

    /// A request that breaks the rules: an answer where there is one that says more than a reset, and the reset.
    pub(super) fn reject(
        &mut self,
        slot: usize,
        error: RequestError,
        now: &Now<'_>,
    ) -> Result<Advance, ConnectionError> {
        let stream = &mut self.streams[slot];
        if stream.exchange.is_unanswered() && is_answered(error) {
            stream.abandoned = true;
            stream.exchange.disconnect();
            self.note_changed(slot);
            self.forget_body(slot);
            self.answer(slot, error.status(), error.as_str(), now);
        } else {
            let id = stream.id;
            self.stream_error(id, ErrorCode::ProtocolError)?;
        }
        Ok(Advance::Refused(0, error))
    }

    /// RST_STREAM came.
    pub(super) fn reset_frame(&mut self, id: u32, now: &Now<'_>) -> Result<Advance, ConnectionError> {
        if id == 0 {
            return Err(ConnectionError::StreamNumber);
        }
        let Some(slot) = self.streams.find(id) else {
            self.check_not_idle(id)?;
            return Ok(Advance::Consumed(0));
        };
        let stream = &mut self.streams[slot];
        if stream.exchange.is_unanswered() {
            self.bounds.count(Bound::Reset, now.instant)?;
        }
        self.end_stream(slot);
        Ok(Advance::Consumed(0))
    }

    /// The application has taken so many bytes of a stream: the peer is told when it is half of what it may send.
    pub(super) fn give_back(&mut self, slot: usize, bytes: u32) {
        if self.fate != Fate::Open {
            return;
        }
        self.credit(bytes);
        let most = self.http2.stream_window;
        let stream = &mut self.streams[slot];
        let receive = &mut stream.receive;
        receive.owed += bytes;
        if receive.owed >= most.div_ceil(2) && !receive.ended && !stream.reset && !receive.unwanted {
            let owed = std::mem::take(&mut receive.owed);
            receive.window += i64::from(owed);
            let id = stream.id;
            self.transmit.append(|buffer| frame::write_window_update(buffer, id, owed));
        }
    }

    /// The same of the connection.
    pub(super) fn credit(&mut self, bytes: u32) {
        self.owed += bytes;
        if self.fate == Fate::Open && self.owed >= self.http2.connection_window.max(DEFAULT_WINDOW).div_ceil(2) {
            let owed = std::mem::take(&mut self.owed);
            self.receive_window += i64::from(owed);
            self.transmit.append(|buffer| frame::write_window_update(buffer, 0, owed));
        }
    }
}

/// Whether a request is answered with a status, rather than taken for malformed (section 8.1.1).
const fn is_answered(error: RequestError) -> bool {
    !matches!(
        error,
        RequestError::PseudoHeader
            | RequestError::FieldName
            | RequestError::FieldValue
            | RequestError::FieldForbidden
            | RequestError::ContentLength
            | RequestError::BodyLength
            | RequestError::Trailer
            | RequestError::Method
            | RequestError::Target
    )
}
