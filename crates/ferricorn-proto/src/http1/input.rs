//! From bytes to events: which reader the next bytes go to. This file reads no byte itself and writes no response.

use std::rc::Rc;

use asgi::{Headers, HttpVersion};

use super::chunked::ChunkedDecoder;
use super::facts::{Expect, Facts};
use super::framing::{self, BodyReader, RequestBody};
use super::head::Head;
use super::target::Target;
use super::{Connection, Expected, Input, Now, Request, RequestHead, Step};
use crate::error::{RequestError, TimeoutKind};
use crate::exchange::Exchange;
use crate::limits::Limits;

impl<B: AsRef<[u8]>> Connection<B> {
    /// Takes what it can out of `input` (and moves the data of several chunks together in place), and gives at most one
    /// event. The caller drops [`Step::consumed`] bytes and, after an event, calls again with the rest; bytes that were not
    /// consumed are handed in again with more behind them.
    pub fn handle_input<'b>(&'b mut self, input: &'b mut [u8], now: &Now<'_>) -> Step<'b> {
        match self.expected {
            Expected::Head => self.head_input(input, 0, now),
            Expected::Body { asked: true, .. } => self.body_input(input, now),
            Expected::Body { asked: false, .. } | Expected::Next => Step { consumed: 0, event: Ok(None) },
            Expected::Frames => self.frames_input(input, now),
            Expected::Unwanted { .. } => self.unwanted_input(input, now),
            Expected::Ignored => Step { consumed: input.len(), event: Ok(None) },
        }
    }

    /// `skipped`: bytes of the caller's input ahead of `input`.
    fn head_input<'b>(&mut self, input: &'b mut [u8], skipped: usize, now: &Now<'_>) -> Step<'b> {
        if input.is_empty() || self.transmit.len() > Limits::PIPELINE {
            return Step { consumed: skipped, event: Ok(None) };
        }
        let length = skipped + input.len();
        let blank = match self.head.blank_lines(input) {
            Ok(blank) => blank,
            Err(error) => return self.refused(error, false, length, now),
        };
        let (skipped, input) = (skipped + blank, &mut input[blank..]);
        let to_head = input.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"HEAD "));
        match self.read_head(input, now) {
            Ok(None) => Step { consumed: skipped, event: Ok(None) },
            Ok(Some((consumed, head))) => Step { consumed: skipped + consumed, event: Ok(Some(Input::Request(head))) },
            Err(error) => self.refused(error, to_head, length, now),
        }
    }

    /// Nothing behind what is refused is of interest.
    fn refused<'b>(&mut self, error: RequestError, to_head: bool, consumed: usize, now: &Now<'_>) -> Step<'b> {
        self.reject(error, to_head, now);
        Step { consumed, event: Err(error) }
    }

    fn read_head<'b>(
        &mut self,
        input: &'b mut [u8],
        now: &Now<'_>,
    ) -> Result<Option<(usize, RequestHead<'b>)>, RequestError> {
        match self.head.read(input, self.limits.head)? {
            Some(head) => Ok(Some((head.length, self.open(&mut input[..head.length], &head)?))),
            None => {
                let is_armed = matches!(self.deadline, Some((_, TimeoutKind::RequestHead)));
                if !is_armed && !self.head.is_empty() {
                    self.deadline = Some((now.instant + self.limits.request_head, TimeoutKind::RequestHead));
                }
                Ok(None)
            }
        }
    }

    /// Opens the exchange of a request whose head is whole.
    fn open<'b>(&mut self, bytes: &'b mut [u8], head: &Head) -> Result<RequestHead<'b>, RequestError> {
        let (method, rest) = bytes.split_at_mut(head.line.method_end);
        let method = uppercase(method);
        let target = &rest[1..head.line.target_end - head.line.method_end];
        let (version, facts) = (head.line.version, &head.facts);
        let target = Target::new(target, method)?;
        check_host(facts, version)?;
        let expects_continue = expects_continue(facts, version)?;
        let body = framing::request_body(facts, version, self.limits.body)?;
        let te_trailers = facts.te_trailers;
        self.request = Request {
            version,
            keep_alive: !facts.close && (facts.keep_alive || version == HttpVersion::Http11),
            te_trailers,
            expects_continue: expects_continue && body != RequestBody::None,
            body_complete: body == RequestBody::None,
        };
        let has_body = body != RequestBody::None;
        self.exchange = Exchange::open(method == "HEAD", te_trailers && version == HttpVersion::Http11);
        self.expected = expected_after_head(body);
        self.deadline = None;
        let headers = self.headers_for(target.authority);
        // An upgrade that HTTP/1.0 asks for is none (RFC 9110 section 7.8).
        if facts.upgrade && facts.websocket && version == HttpVersion::Http11 {
            self.expect_websocket(method, &headers, has_body)?;
        }
        Ok(RequestHead {
            stream: 0,
            version,
            method,
            path: target.path,
            query: target.query,
            headers,
            // A replaced host makes another list of it.
            headers_repeated: head.repeated && target.authority.is_none(),
            has_body,
            websocket: self.websocket.is_some(),
        })
    }

    /// The header list for the application: with an absolute target, its authority is the host (RFC 9112 section 3.2.2).
    fn headers_for(&mut self, authority: Option<&[u8]>) -> Rc<Headers> {
        match authority {
            None => Rc::clone(self.head.headers()),
            Some(authority) => {
                let headers = self.head.headers().with_checked(b"host", authority);
                // This list is not the one that a next head could repeat.
                self.head.forget_block();
                Rc::new(headers)
            }
        }
    }

    fn body_input<'b>(&mut self, input: &'b mut [u8], now: &Now<'_>) -> Step<'b> {
        let Expected::Body { reader, asked } = &mut self.expected else { unreachable!("the caller has looked") };
        if input.is_empty() {
            return Step { consumed: 0, event: Ok(None) };
        }
        let part = match reader.read(input, self.limits.body) {
            Ok(part) => part,
            Err(error) => return self.refused(error, false, input.len(), now),
        };
        self.request.expects_continue = false;
        if part.start == part.end && !part.complete {
            self.deadline = Some((now.instant + self.limits.request_body, TimeoutKind::RequestBody));
            return Step { consumed: part.consumed, event: Ok(None) };
        }
        *asked = false;
        self.deadline = None;
        if part.complete {
            self.request.body_complete = true;
            self.expected = Expected::Next;
            self.after_response(now);
        }
        let data = &input[part.start..part.end];
        Step { consumed: part.consumed, event: Ok(Some(Input::Body { data, end: part.complete })) }
    }

    /// Reads away what nobody wants; behind its end, a next head.
    fn unwanted_input<'b>(&mut self, input: &'b mut [u8], now: &Now<'_>) -> Step<'b> {
        let Expected::Unwanted { reader, allowance } = &mut self.expected else {
            unreachable!("the caller has looked")
        };
        let length = input.len();
        match reader.read(input, self.limits.body) {
            Err(error) => self.refused(error, false, length, now),
            Ok(part) if part.consumed as u64 > *allowance => {
                self.close(now);
                Step { consumed: length, event: Ok(None) }
            }
            Ok(part) if part.complete => {
                self.expect_head(now);
                self.head_input(&mut input[part.consumed..], part.consumed, now)
            }
            Ok(part) => {
                *allowance -= part.consumed as u64;
                Step { consumed: part.consumed, event: Ok(None) }
            }
        }
    }

    pub(super) fn expect_head(&mut self, now: &Now<'_>) {
        self.expected = Expected::Head;
        self.own_field.clear();
        // While bytes wait, the response's deadline stands; this one begins when they have gone.
        self.deadline =
            self.transmit.is_empty().then(|| (now.instant + self.limits.keep_alive, TimeoutKind::KeepAlive));
    }
}

/// The common methods need no look at their bytes as text.
fn uppercase(method: &mut [u8]) -> &str {
    match &*method {
        b"GET" => "GET",
        b"POST" => "POST",
        b"HEAD" => "HEAD",
        b"PUT" => "PUT",
        b"DELETE" => "DELETE",
        b"PATCH" => "PATCH",
        b"OPTIONS" => "OPTIONS",
        _ => {
            method.make_ascii_uppercase();
            str::from_utf8(method).expect("a token is ASCII")
        }
    }
}

fn check_host(facts: &Facts, version: HttpVersion) -> Result<(), RequestError> {
    // HTTP/1.0 did not have it (RFC 9112 section 3.2).
    if facts.has_host || version == HttpVersion::Http10 { Ok(()) } else { Err(RequestError::HostMissing) }
}

/// An expectation of HTTP/1.0 is none (RFC 9110 section 10.1.1).
fn expects_continue(facts: &Facts, version: HttpVersion) -> Result<bool, RequestError> {
    match facts.expect {
        _ if version == HttpVersion::Http10 => Ok(false),
        Expect::Nothing => Ok(false),
        Expect::Continue => Ok(true),
        Expect::Other => Err(RequestError::Expectation),
    }
}

fn expected_after_head(body: RequestBody) -> Expected {
    let reader = match body {
        RequestBody::None => return Expected::Next,
        RequestBody::Length(length) => BodyReader::Length(length),
        RequestBody::Chunked => BodyReader::Chunked(ChunkedDecoder::new()),
    };
    Expected::Body { reader, asked: false }
}
