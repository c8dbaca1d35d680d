//! From the application's events to bytes (RFC 9113 section 8.1): what goes into a response's head, and what behind it. This
//! file knows no window.

use std::fs::File;
use std::rc::Rc;

use asgi::{Gather, Headers, InvalidHeader, KnownField, Outcome, ResponseStart, SendError};

use super::error::ErrorCode;
use super::frame;
use super::stream::{End, Start};
use super::{Connection, Now};
use crate::bytes::decimal_digits;
use crate::exchange::{State, Verdict};
use crate::http1::status_phrase;
use crate::limits::Limits;
use crate::protocol::{Answer, Finished};
use crate::transmit::Content;

/// A part of a body, by this event.
pub(super) struct Part<B> {
    pub(super) event: &'static str,
    pub(super) content: Content<B>,
    pub(super) more: bool,
}

/// What is known of a body when its head goes.
#[derive(Clone, Copy)]
pub(super) struct Framing {
    /// The content-length to be added.
    pub(super) length: Option<u64>,
    /// There is none at all.
    pub(super) end: bool,
}

impl<B: AsRef<[u8]>, G: Gather> Connection<B, G> {
    /// Has the response carry this field, unless the application says it itself; also the response that the server gives in
    /// its place. `name` is in lowercase.
    pub fn set_response_field(&mut self, stream: u32, name: &[u8], value: &[u8]) {
        if let Some(slot) = self.streams.find(stream) {
            let stream = &mut self.streams[slot];
            stream.own_field.clear();
            stream.own_field.extend_from_slice(name);
            stream.own_field.extend_from_slice(value);
            stream.own_name = name.len();
        }
    }

    /// `http.response.start`. The head is held back until the first part of the body (HTTP-14).
    ///
    /// # Errors
    /// Where it may not come now or says what cannot be sent; nothing has changed then.
    pub fn start(&mut self, stream: u32, start: &ResponseStart) -> Result<(), SendError> {
        let slot = self.streams.find(stream).ok_or(SendError::Disconnected)?;
        self.begin(slot, "http.response.start", start)
    }

    pub(super) fn begin(&mut self, slot: usize, event: &'static str, start: &ResponseStart) -> Result<(), SendError> {
        let stream = &mut self.streams[slot];
        if stream.exchange.start(event, start)? == Verdict::Ignore {
            return Ok(());
        }
        let last = self.last_start.as_ref();
        let last =
            last.filter(|last| last.status == start.status && last.headers.as_block() == start.headers.as_block());
        let shared = match last {
            Some(last) => Rc::clone(last),
            None => {
                let start = Rc::new(Start { status: start.status, headers: sendable(start) });
                self.last_start = Some(Rc::clone(&start));
                start
            }
        };
        stream.start = Some(shared);
        Ok(())
    }

    /// `http.response.body` and `http.response.zerocopysend`.
    ///
    /// # Errors
    /// Where it may not come now or is longer than promised (HTTP-21); nothing has changed then.
    pub fn body(&mut self, stream: u32, content: Content<B>, more_body: bool, now: &Now<'_>) -> Result<(), SendError> {
        let slot = self.streams.find(stream).ok_or(SendError::Disconnected)?;
        let event = match content {
            Content::Bytes(_) => "http.response.body",
            Content::File { .. } => "http.response.zerocopysend",
        };
        self.part(slot, Part { event, content, more: more_body }, now)
    }

    /// `http.response.pathsend`: the first `count` bytes of a file are the whole body (EXT-08).
    ///
    /// # Errors
    /// As [`body`](Self::body), and where a part of the body was sent before.
    pub fn pathsend(&mut self, stream: u32, file: File, count: u64, now: &Now<'_>) -> Result<(), SendError> {
        let slot = self.streams.find(stream).ok_or(SendError::Disconnected)?;
        let event = "http.response.pathsend";
        self.streams[slot].exchange.check_no_body_yet(event)?;
        self.part(slot, Part { event, content: Content::File { file, offset: 0, count }, more: false }, now)
    }

    pub(super) fn part(&mut self, slot: usize, part: Part<B>, now: &Now<'_>) -> Result<(), SendError> {
        let Part { event, content, more } = part;
        let length = content.len();
        let stream = &mut self.streams[slot];
        let Some(part) = stream.exchange.body(event, length, more)? else { return Ok(()) };
        let size = if stream.exchange.has_content() { length } else { 0 };
        let is_whole = matches!(stream.exchange.state(), State::Complete | State::Satisfied);
        if stream.exchange.state() == State::Truncated {
            stream.end = End::Reset(ErrorCode::InternalError);
        }
        stream.sent += size;
        if part.first {
            let told = self.told_length(slot, length, part.last);
            self.send_start(slot, Framing { length: told, end: is_whole && size == 0 }, now);
            if is_whole && size == 0 {
                self.end_local(slot);
                self.after_output(now);
                return Ok(());
            }
        }
        self.send_content(slot, content, size, is_whole);
        self.after_output(now);
        Ok(())
    }

    /// The content-length that is to be added to a response's head, which goes out with a first part of `length` bytes.
    fn told_length(&self, slot: usize, length: u64, last: bool) -> Option<u64> {
        let stream = &self.streams[slot];
        let exchange = &stream.exchange;
        if !exchange.has_content() {
            // What GET would have told; of an empty body, the application may just not have made one.
            let start = stream.start.as_ref();
            let has_length = start.is_some_and(|start| start.headers.has(KnownField::ContentLength));
            let tells = last && length > 0 && !has_length && !matches!(exchange.status(), Some(204 | 304));
            return tells.then_some(length);
        }
        // The application's own stays. Else the length is known where the whole body is here.
        (exchange.promised().is_none() && last && !exchange.has_trailers()).then_some(length)
    }

    /// Lets the head go that was held back.
    fn send_start(&mut self, slot: usize, framing: Framing, now: &Now<'_>) {
        if let Some(start) = self.streams[slot].start.take() {
            self.send_head(slot, &start, framing, now);
        }
    }

    pub(super) fn send_head(&mut self, slot: usize, start: &Start, framing: Framing, now: &Now<'_>) {
        let Framing { length, end } = framing;
        let max = self.max_frame();
        let stream = &self.streams[slot];
        let mut digits = [0; 20];
        let length = length.map(|length| (&b"content-length"[..], decimal_digits(&mut digits, length)));
        let headers = &start.headers;
        let own = stream.own_field().filter(|(name, _)| headers.get(name).is_none());
        let limits = &*self.limits;
        let has_date = headers.has(KnownField::Date);
        let date =
            (limits.date && !has_date && !limits.headers.has(KnownField::Date)).then_some((&b"date"[..], now.date));
        let has_server = headers.has(KnownField::Server);
        let common = limits.headers.iter().filter(move |(name, _)| match *name {
            b"server" => !has_server,
            b"date" => !has_date,
            name => !is_about_the_connection(name) && name != b"content-length",
        });
        let fields = length.into_iter().chain(own).chain(common).chain(date);
        let encoder = &mut self.encoder;
        self.transmit.append(|buffer| {
            frame::write_headers(buffer, stream.id, end, max, |buffer| {
                encoder.encode_response(start.status, headers, fields, buffer);
            });
        });
    }

    /// The largest payload of a frame that is written.
    pub(super) fn max_frame(&self) -> usize {
        self.peer.max_frame.min(self.http2.max_frame_size as usize)
    }

    /// A response ahead of the final one.
    pub(super) fn interim(&mut self, slot: usize, status: u16, links: &[Vec<u8>]) {
        let (max, id) = (self.max_frame(), self.streams[slot].id);
        let encoder = &mut self.encoder;
        let headers = Headers::new();
        let links = links.iter().map(|link| (&b"link"[..], link.trim_ascii()));
        self.transmit.append(|buffer| {
            frame::write_headers(buffer, id, false, max, |buffer| {
                encoder.encode_response(status, &headers, links, buffer);
            });
        });
    }

    /// `http.response.trailers` (EXT-13).
    ///
    /// # Errors
    /// Where they may not come now; nothing has changed then.
    pub fn trailers(
        &mut self,
        stream: u32,
        headers: &Headers,
        more_trailers: bool,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        let slot = self.streams.find(stream).ok_or(SendError::Disconnected)?;
        let stream = &mut self.streams[slot];
        if stream.exchange.trailers(more_trailers)? == Verdict::Ignore {
            return Ok(());
        }
        let trailers = stream.trailers.get_or_insert_default();
        for (name, value) in headers.iter().filter(|(name, _)| !is_framing(name)) {
            trailers.push_checked(name, value);
        }
        if !more_trailers {
            self.end_with_trailers(slot, now);
        }
        Ok(())
    }

    fn end_with_trailers(&mut self, slot: usize, now: &Now<'_>) {
        let stream = &mut self.streams[slot];
        let trailers = stream.trailers.take().filter(|trailers| !trailers.is_empty());
        stream.end = trailers.map_or(End::Stream, |trailers| End::Trailers(*trailers));
        self.enqueue(slot);
        self.after_output(now);
    }

    /// `http.response.early_hint`: one 103 with these values of `link` (EXT-11).
    ///
    /// # Errors
    /// Where a value would break the message, or the client is gone; nothing has changed then.
    pub fn early_hint(&mut self, stream: u32, links: &[Vec<u8>]) -> Result<(), SendError> {
        let slot = self.streams.find(stream).ok_or(SendError::Disconnected)?;
        let verdict = self.streams[slot].exchange.early_hint()?;
        if links.iter().flatten().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(InvalidHeader::Value(b"link".to_vec()).into());
        }
        if verdict == Verdict::Apply && !links.is_empty() {
            self.interim(slot, 103, links);
        }
        Ok(())
    }

    /// The application's call ended (ERR-04 to ERR-07): a response that has not begun becomes a 500, and one that has is
    /// broken visibly, by a reset of its stream.
    pub fn finish(&mut self, stream: u32, outcome: Outcome, now: &Now<'_>) -> Finished {
        self.instant = now.instant;
        let Some(slot) = self.streams.find(stream) else { return Finished::Disconnected };
        let stream = &mut self.streams[slot];
        let before = stream.exchange.state();
        match stream.exchange.finish(outcome) {
            State::Waiting | State::Held => {
                self.refuse_slot(slot, 500, now);
                if outcome == Outcome::Returned { Finished::NoResponse } else { Finished::Failed500 }
            }
            State::Complete => {
                if before == State::Trailers {
                    self.end_with_trailers(slot, now);
                }
                Finished::Complete
            }
            State::Upgraded => {
                self.finish_websocket(slot, outcome, now);
                Finished::Complete
            }
            State::Disconnected => Finished::Disconnected,
            _ => {
                self.break_off(slot, now);
                Finished::Truncated
            }
        }
    }

    /// What was sent before still goes; then the client sees that something is missing.
    fn break_off(&mut self, slot: usize, now: &Now<'_>) {
        let stream = &mut self.streams[slot];
        if !stream.is_closed() {
            stream.end = End::Reset(ErrorCode::InternalError);
            self.enqueue(slot);
            self.after_output(now);
        }
    }

    /// The server itself answers the exchange, with a status and its phrase. A response that has begun is broken instead.
    /// Without an open exchange nothing happens.
    pub fn refuse(&mut self, stream: u32, status: u16, now: &Now<'_>) {
        if let Some(slot) = self.streams.find(stream) {
            self.refuse_slot(slot, status, now);
        }
    }

    pub(super) fn refuse_slot(&mut self, slot: usize, status: u16, now: &Now<'_>) {
        let exchange = &mut self.streams[slot].exchange;
        if exchange.is_unanswered() {
            exchange.answered(status);
            self.answer(slot, status, status_phrase(status), now);
        } else if exchange.is_open() {
            exchange.finish(Outcome::Failed);
            self.break_off(slot, now);
        }
    }

    /// The server itself answers the exchange with a short text, as an application would. Without an exchange that waits for
    /// its response nothing happens.
    pub fn respond(&mut self, stream: u32, answer: &Answer<'_>, now: &Now<'_>) {
        let Some(slot) = self.streams.find(stream) else { return };
        let length = answer.text.len() as u64;
        let begun = self.begin(slot, "http.response.start", &answer.start());
        let exchange = &mut self.streams[slot].exchange;
        if begun.is_err() || !matches!(exchange.body("http.response.body", length, false), Ok(Some(_))) {
            return;
        }
        let told = self.told_length(slot, length, true);
        let text = if self.streams[slot].exchange.has_content() { answer.text } else { "" };
        self.send_start(slot, Framing { length: told, end: text.is_empty() }, now);
        self.send_text(slot, text, now);
    }

    /// Writes a whole response of the server's own in place of one that was held back.
    pub(super) fn answer(&mut self, slot: usize, status: u16, text: &str, now: &Now<'_>) {
        let mut headers = Headers::new();
        headers.push_checked(b"content-type", b"text/plain; charset=utf-8");
        if status == 426 {
            headers.push_checked(b"sec-websocket-version", b"13");
        }
        let stream = &mut self.streams[slot];
        let has_content = stream.exchange.may_have_content() && !text.is_empty();
        stream.start = None;
        stream.sent = 0;
        let framing = Framing { length: Some(text.len() as u64), end: !has_content };
        self.send_head(slot, &Start { status, headers }, framing, now);
        self.send_text(slot, if has_content { text } else { "" }, now);
    }

    /// The body of a response of the server's own, behind a head that has ended the stream where there is none.
    fn send_text(&mut self, slot: usize, text: &str, now: &Now<'_>) {
        if text.is_empty() {
            self.end_local(slot);
        } else {
            let stream = &mut self.streams[slot];
            stream.sent = text.len() as u64;
            stream.unsent.append(|buffer| buffer.extend_from_slice(text.as_bytes()));
            stream.end = End::Stream;
            self.enqueue(slot);
        }
        self.after_output(now);
    }
}

/// The fields of the application that HTTP/2 takes: none about the connection (HDR-15), and one length at most, which a 204
/// does not have (RFC 9110 section 8.6).
fn sendable(start: &ResponseStart) -> Headers {
    let headers = &start.headers;
    let has_length = headers.has(KnownField::ContentLength);
    let about_the_connection =
        [KnownField::Connection, KnownField::TransferEncoding, KnownField::HopByHop].map(|known| headers.has(known));
    let has_lengths = has_length && (start.status == 204 || headers.get_all(b"content-length").nth(1).is_some());
    if !about_the_connection.contains(&true) && !has_lengths {
        return headers.clone();
    }
    let mut lengths_left = usize::from(start.status != 204);
    let mut kept = Headers::new();
    for (name, value) in headers.iter().filter(|(name, _)| !is_about_the_connection(name)) {
        if name == b"content-length" && std::mem::take(&mut lengths_left) == 0 {
            continue;
        }
        kept.push_checked(name, value);
    }
    kept
}

/// Fields about the connection, which HTTP/2 does not have (section 8.2.2).
pub(super) fn is_about_the_connection(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade")
}

/// What frames a message may not stand in trailers (RFC 9110 section 6.5.1).
fn is_framing(name: &[u8]) -> bool {
    name == b"content-length" || is_about_the_connection(name)
}

/// Above this many bytes that wait to be written, responses wait in their streams.
pub(super) const ROOM: u64 = 2 * Limits::PIPELINE;
