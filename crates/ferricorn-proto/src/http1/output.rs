//! From the application's events to bytes: what goes into a response's head and how its body is framed. This file reads no
//! input.

use std::fs::File;

use asgi::{Headers, HttpVersion, InvalidHeader, KnownField, Outcome, ResponseStart, SendError};

use super::framing::{self, ResponseBody};
use super::{Connection, Drain, Expected, Fate, Finished, Now, chunked, encode};
use crate::error::{RequestError, TimeoutKind};
use crate::exchange::{State, Verdict};
use crate::limits::Limits;
use crate::protocol::Answer;
use crate::semantics;
use crate::transmit::Content;

/// What of the response's head matters after its start.
#[derive(Clone, Copy)]
pub(super) struct Response {
    pub(super) body: ResponseBody,
    /// The application asks for `connection: close`.
    close: bool,
    has_date: bool,
    has_server: bool,
    has_length: bool,
    /// The application says itself what the server would have added ([`Connection::set_response_field`]).
    has_own_field: bool,
    /// Bytes of the body that are on the wire or on their way there, without their framing.
    pub(super) sent: u64,
}

impl Response {
    pub(super) const NONE: Self = Self {
        body: ResponseBody::None,
        close: false,
        has_date: false,
        has_server: false,
        has_length: false,
        has_own_field: false,
        sent: 0,
    };

    pub(super) fn of(headers: &Headers, own_field: &[u8]) -> Self {
        Self {
            has_own_field: !own_field.is_empty() && headers.get(encode::name(own_field)).is_some(),
            has_date: headers.has(KnownField::Date),
            has_server: headers.has(KnownField::Server),
            has_length: headers.has(KnownField::ContentLength),
            ..Self::NONE
        }
    }
}

impl<B: AsRef<[u8]>> Connection<B> {
    /// The application called `receive`: the next part of the body is wanted, until it is given out. The first time, a
    /// client that waits for it is told to send, unless it was answered already (HTTP-12).
    pub fn want_body(&mut self, now: &Now<'_>) {
        let Expected::Body { asked, .. } = &mut self.expected else { return };
        if std::mem::replace(asked, true) || self.end_of_input {
            return;
        }
        self.deadline = Some((now.instant + self.limits.request_body, TimeoutKind::RequestBody));
        if self.request.expects_continue && self.exchange.is_unanswered() {
            self.request.expects_continue = false;
            self.transmit.insert_before_held(encode::CONTINUE);
            self.note_waiting(now);
        }
    }

    /// Has the response to the current request carry this field, unless the application says it itself; also the response
    /// that the server gives in its place. `name` is in lowercase.
    pub fn set_response_field(&mut self, name: &[u8], value: &[u8]) {
        self.own_field.clear();
        encode::field(&mut self.own_field, name, value);
    }

    /// `http.response.start`. The head is held back until the first part of the body (HTTP-14).
    ///
    /// # Errors
    /// Where it may not come now or says what cannot be sent; nothing has changed then.
    pub fn start(&mut self, start: &ResponseStart) -> Result<(), SendError> {
        self.begin("http.response.start", start)
    }

    pub(super) fn begin(&mut self, event: &'static str, start: &ResponseStart) -> Result<(), SendError> {
        if self.exchange.start(event, start)? == Verdict::Ignore {
            return Ok(());
        }
        let headers = &start.headers;
        self.response = Response::of(headers, &self.own_field);
        let needs_filter = headers.has(KnownField::Connection)
            || headers.has(KnownField::TransferEncoding)
            || self.response.has_length && needs_length_filter(start);
        self.transmit.append_held(|buffer| {
            encode::status_line(buffer, start.status);
            if !needs_filter {
                buffer.extend_from_slice(headers.as_block());
            }
        });
        if needs_filter {
            self.filtered_fields(start);
        }
        Ok(())
    }

    /// The application's fields without those by which the server frames the message (HTTP-19) and keeps the connection.
    fn filtered_fields(&mut self, start: &ResponseStart) {
        let mut lengths_left = u8::from(start.status != 204);
        let mut close = false;
        self.transmit.append_held(|buffer| {
            encode::fields(buffer, &start.headers, |name| match name {
                b"connection" | b"transfer-encoding" => false,
                b"content-length" => std::mem::take(&mut lengths_left) == 1,
                _ => true,
            });
            for option in start.headers.get_all(b"connection").flat_map(semantics::members) {
                if option.eq_ignore_ascii_case(b"close") {
                    close = true;
                } else if !option.eq_ignore_ascii_case(b"keep-alive") && !option.is_empty() {
                    encode::field(buffer, b"connection", option);
                }
            }
        });
        self.response.close = close;
    }

    /// `http.response.body` and `http.response.zerocopysend`.
    ///
    /// # Errors
    /// Where it may not come now or is longer than promised (HTTP-21); nothing has changed then.
    pub fn body(&mut self, content: Content<B>, more_body: bool, now: &Now<'_>) -> Result<(), SendError> {
        let event = match content {
            Content::Bytes(_) => "http.response.body",
            Content::File { .. } => "http.response.zerocopysend",
        };
        self.part(event, content, more_body, now)
    }

    /// `http.response.pathsend`: the first `count` bytes of a file are the whole body (EXT-08).
    ///
    /// # Errors
    /// As [`body`](Self::body), and where a part of the body was sent before.
    pub fn pathsend(&mut self, file: File, count: u64, now: &Now<'_>) -> Result<(), SendError> {
        let event = "http.response.pathsend";
        self.exchange.check_no_body_yet(event)?;
        self.part(event, Content::File { file, offset: 0, count }, false, now)
    }

    pub(super) fn part(
        &mut self,
        event: &'static str,
        content: Content<B>,
        more: bool,
        now: &Now<'_>,
    ) -> Result<(), SendError> {
        let length = content.len();
        let Some(part) = self.exchange.body(event, length, more)? else { return Ok(()) };
        if part.first {
            self.release_head(length, part.last, now);
        }
        if self.response.body != ResponseBody::None {
            self.response.sent += length;
        }
        match self.response.body {
            ResponseBody::None => {}
            ResponseBody::Chunked => self.chunk(content, length),
            ResponseBody::Promised | ResponseBody::Length(_) | ResponseBody::Close => self.transmit.push(content),
        }
        self.settle(now);
        Ok(())
    }

    fn chunk(&mut self, content: Content<B>, length: u64) {
        if length > 0 {
            self.transmit.append(|buffer| chunked::write_size(buffer, length));
            self.transmit.push(content);
        }
        let end: &[u8] = match self.exchange.state() {
            State::Complete => b"0\r\n\r\n",
            State::Trailers => b"0\r\n",
            _ => b"",
        };
        self.transmit.append(|buffer| {
            if length > 0 {
                buffer.extend_from_slice(b"\r\n");
            }
            buffer.extend_from_slice(end);
        });
    }

    /// `http.response.trailers` (EXT-13).
    ///
    /// # Errors
    /// Where they may not come now; nothing has changed then.
    pub fn trailers(&mut self, headers: &Headers, more_trailers: bool, now: &Now<'_>) -> Result<(), SendError> {
        if self.exchange.trailers(more_trailers)? == Verdict::Apply {
            self.transmit.append(|buffer| {
                encode::fields(buffer, headers, |name| !is_framing(name));
                if !more_trailers {
                    buffer.extend_from_slice(b"\r\n");
                }
            });
            self.settle(now);
        }
        Ok(())
    }

    /// `http.response.early_hint`: one 103 with these values of `link`; none to HTTP/1.0 (EXT-11).
    ///
    /// # Errors
    /// Where a value would break the message, or the client is gone; nothing has changed then.
    pub fn early_hint(&mut self, links: &[Vec<u8>]) -> Result<(), SendError> {
        let verdict = self.exchange.early_hint()?;
        if links.iter().flatten().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(InvalidHeader::Value(b"link".to_vec()).into());
        }
        if verdict == Verdict::Apply && self.request.version == HttpVersion::Http11 && !links.is_empty() {
            self.transmit.append(|buffer| {
                encode::status_line(buffer, 103);
                links.iter().for_each(|link| encode::field(buffer, b"link", link));
                buffer.extend_from_slice(b"\r\n");
            });
        }
        Ok(())
    }

    /// The application's call ended (ERR-04 to ERR-07): a response that has not begun becomes a 500, one that has is broken
    /// visibly, and the connection closes after both.
    pub fn finish(&mut self, outcome: Outcome, now: &Now<'_>) -> Finished {
        let before = self.exchange.state();
        match self.exchange.finish(outcome) {
            State::Waiting | State::Held => {
                self.refuse(500, now);
                if outcome == Outcome::Returned { Finished::NoResponse } else { Finished::Failed500 }
            }
            State::Complete => {
                if before == State::Trailers {
                    self.transmit.append(|buffer| buffer.extend_from_slice(b"\r\n"));
                    self.settle(now);
                }
                Finished::Complete
            }
            State::Upgraded => {
                self.finish_websocket(outcome, now);
                Finished::Complete
            }
            State::Disconnected => Finished::Disconnected,
            _ => {
                self.settle(now);
                Finished::Truncated
            }
        }
    }

    /// The server itself answers the current exchange, with a status and its phrase, and the connection closes. A response
    /// that has begun is broken instead. Without an open exchange nothing happens.
    pub fn refuse(&mut self, status: u16, now: &Now<'_>) {
        if self.exchange.is_unanswered() {
            let content = self.exchange.may_have_content();
            self.exchange.answered(status);
            self.answer(status, encode::phrase(status), content, now);
        } else if self.exchange.is_open() {
            self.exchange.finish(Outcome::Failed);
            self.settle(now);
        }
    }

    /// The server itself answers the current exchange: the connection goes on, unless the answer closes it. Without an
    /// exchange that waits for its response nothing happens.
    pub fn respond(&mut self, answer: &Answer<'_>, now: &Now<'_>) {
        let Answer { text, close, .. } = *answer;
        let started = self.start(&answer.start());
        let Ok(Some(part)) = started.and_then(|()| self.exchange.body("http.response.body", text.len() as u64, false))
        else {
            return;
        };
        self.response.close = close;
        self.release_head(text.len() as u64, part.last, now);
        if self.response.body != ResponseBody::None {
            self.transmit.append(|buffer| buffer.extend_from_slice(text.as_bytes()));
        }
        self.settle(now);
    }

    /// The connection is to end (CON-09): the next response that begins says so and is the last, and a head that has
    /// begun is still read and answered. What is pipelined behind that response is not begun: after it said `close`, the
    /// client has to take it for unprocessed (RFC 9112 section 9.6). WebSockets are not meant.
    pub fn drain(&mut self, drain: Drain) {
        self.draining = self.draining.max(Some(drain));
        if drain == Drain::Quick && matches!(self.expected, Expected::Head) && self.head.is_empty() {
            self.close_idle();
        }
    }

    /// The peer did what is not allowed: answers where an answer is still possible. `to_head`: as far as is known, the
    /// request that cannot be read is a HEAD.
    pub(super) fn reject(&mut self, error: RequestError, to_head: bool, now: &Now<'_>) {
        let (status, text) = (error.status(), error.as_str());
        if self.fate != Fate::Open {
            self.expected = Expected::Ignored;
        } else if matches!(self.expected, Expected::Head) {
            self.exchange.answered(status);
            self.answer(status, text, !to_head, now);
        } else if self.exchange.is_unanswered() {
            let content = self.exchange.may_have_content();
            self.exchange.disconnect();
            self.answer(status, text, content, now);
        } else if self.exchange.is_open() {
            self.exchange.disconnect();
            self.abort();
        } else {
            self.close(now);
        }
    }

    /// Writes a whole response of the server's own in place of one that was held back.
    pub(super) fn answer(&mut self, status: u16, text: &str, has_content: bool, now: &Now<'_>) {
        self.transmit.drop_held();
        self.response = Response { sent: if has_content { text.len() as u64 } else { 0 }, ..Response::NONE };
        let (limits, own_field) = (&*self.limits, &*self.own_field);
        let response = self.response;
        self.transmit.append(|buffer| {
            encode::status_line(buffer, status);
            encode::field(buffer, b"content-type", b"text/plain; charset=utf-8");
            encode::content_length(buffer, text.len() as u64);
            if status == 426 {
                // What would have been accepted (RFC 9110 section 15.5.22, RFC 6455 section 4.4).
                buffer.extend_from_slice(b"upgrade: websocket\r\nsec-websocket-version: 13\r\n");
            }
            encode::field(buffer, b"connection", if status == 426 { b"upgrade, close" } else { b"close" });
            server_fields(buffer, limits, response, own_field, now);
            if has_content {
                buffer.extend_from_slice(text.as_bytes());
            }
        });
        self.close(now);
        self.note_waiting(now);
    }

    /// Completes the head that was held back, now that the first part of the body tells how it is framed, and lets it go.
    fn release_head(&mut self, length: u64, last: bool, now: &Now<'_>) {
        let version = self.request.version;
        let body = framing::response_body(&self.exchange, version, length, last);
        self.response.body = body;
        self.request.keep_alive &= !self.response.close
            && self.draining.is_none()
            && body != ResponseBody::Close
            // Whether the client sends its body or not, nobody knows (RFC 9110 section 10.1.1).
            && !self.request.expects_continue;
        let told_length = match body {
            ResponseBody::Length(length) => Some(length),
            // What GET would have told; of an empty body, the application may just not have made one.
            ResponseBody::None if last && length > 0 && self.tells_length_of_head() => Some(length),
            _ => None,
        };
        let connection: &[u8] = match (self.request.keep_alive, version) {
            (true, HttpVersion::Http10) => b"connection: keep-alive\r\n",
            (true, _) => b"",
            (false, _) => b"connection: close\r\n",
        };
        let (limits, own_field) = (&*self.limits, &*self.own_field);
        let response = self.response;
        self.transmit.append_held(|buffer| {
            if let Some(length) = told_length {
                encode::content_length(buffer, length);
            } else if body == ResponseBody::Chunked {
                buffer.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
            buffer.extend_from_slice(connection);
            server_fields(buffer, limits, response, own_field, now);
        });
        self.transmit.release_held();
    }

    fn tells_length_of_head(&self) -> bool {
        !self.response.has_length && !matches!(self.exchange.status(), Some(204 | 304))
    }

    /// Draws the consequence of what the exchange has come to.
    fn settle(&mut self, now: &Now<'_>) {
        if self.exchange.state() == State::Truncated {
            self.abort();
        } else {
            self.after_response(now);
        }
        self.note_waiting(now);
    }

    /// Once the response is whole: the next request, or what is left of this one, or the end.
    pub(super) fn after_response(&mut self, now: &Now<'_>) {
        if self.exchange.is_open() || self.fate != Fate::Open {
            return;
        }
        if !self.request.keep_alive || self.draining == Some(Drain::Quick) {
            return self.close(now);
        }
        match self.expected {
            Expected::Next => self.expect_head(now),
            Expected::Body { reader, .. } if reader.left() <= Limits::DISCARD => {
                self.expected = Expected::Unwanted { reader, allowance: Limits::DISCARD };
                self.deadline = Some((now.instant + self.limits.linger, TimeoutKind::KeepAlive));
            }
            Expected::Body { .. } => self.close(now),
            Expected::Head | Expected::Frames | Expected::Unwanted { .. } | Expected::Ignored => {}
        }
    }
}

/// The fields that every final response carries, and the empty line.
pub(super) fn server_fields(
    buffer: &mut Vec<u8>,
    limits: &Limits,
    response: Response,
    own_field: &[u8],
    now: &Now<'_>,
) {
    if !response.has_own_field {
        buffer.extend_from_slice(own_field);
    }
    let headers = &limits.headers;
    let needs_filter = response.has_server && headers.has(KnownField::Server)
        || headers.has(KnownField::Date)
        || headers.has(KnownField::Connection)
        || headers.has(KnownField::ContentLength)
        || headers.has(KnownField::TransferEncoding);
    if needs_filter {
        encode::fields(buffer, headers, |name| match name {
            b"server" => !response.has_server,
            b"date" => !response.has_date,
            _ => !is_framing(name),
        });
    } else {
        buffer.extend_from_slice(headers.as_block());
    }
    if limits.date && !response.has_date && !headers.has(KnownField::Date) {
        encode::field(buffer, b"date", now.date);
    }
    buffer.extend_from_slice(b"\r\n");
}

/// Whether content-length has to be taken out (RFC 9110 section 8.6: none in a 204) or stands there twice.
fn needs_length_filter(start: &ResponseStart) -> bool {
    start.status == 204 || start.headers.get_all(b"content-length").nth(1).is_some()
}

/// What frames a message is the server's alone (HTTP-19), and may not stand in trailers (RFC 9110 section 6.5.1).
fn is_framing(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"content-length" | b"transfer-encoding")
}
