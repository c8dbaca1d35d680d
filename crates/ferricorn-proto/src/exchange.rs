//! What an application may send on an exchange, and when: the one state machine that every protocol uses. This file knows
//! no bytes, no protocol and no time; it checks an event first and changes nothing when it refuses one (HTTP-25).

use asgi::{Outcome, ResponseStart, SendError};

use crate::semantics;

/// Where a response stands.
///
/// The events of an HTTP exchange; on a WebSocket, start and body are those of the denial response (EXT-01).
///
/// | state          | start | body, more      | body, last                        | trailers              | early hint | returned       | failed       |
/// |----------------|-------|-----------------|-----------------------------------|-----------------------|------------|----------------|--------------|
/// | `Waiting`      | Held  | refused         | refused                           | refused               | written    | 500            | 500          |
/// | `Held`         | refused | Streaming (1) | Complete, Trailers, Truncated (2) | refused               | ignored    | 500            | 500          |
/// | `Streaming`    | refused | Streaming (1) | Complete, Trailers, Truncated (2) | refused               | ignored    | Truncated      | Truncated    |
/// | `Trailers`     | refused | refused       | refused                           | Trailers or Complete  | ignored    | Complete (3)   | Truncated    |
/// | `Satisfied`    | refused | Satisfied (4) | Complete (4)                      | ignored               | ignored    | Complete       | Complete     |
/// | `Complete`     | ignored | ignored       | ignored                           | ignored               | ignored    | Complete       | Complete     |
/// | `Truncated`    | ignored | ignored       | ignored                           | ignored               | ignored    | Truncated      | Truncated    |
/// | `Upgraded`     | refused | refused       | refused                           | refused               | refused    | Upgraded (5)   | Upgraded (5) |
/// | `Disconnected` | gone  | gone            | gone                              | gone                  | gone       | Disconnected   | Disconnected |
///
/// 1. `Satisfied` when every byte that content-length promised is there, or none may come (HEAD, 204, 304).
/// 2. `Truncated` when fewer bytes came than content-length promised; `Trailers` when they were promised and can be sent.
/// 3. Without the trailers that were promised (EXT-15).
/// 4. Refused when there are bytes in it beyond what was promised; those of HEAD, 204 and 304 are swallowed (HTTP-23).
/// 5. Its session says what that means (WS-21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// For the start of the response.
    Waiting,
    /// Started; nothing of it has been let go.
    Held,
    /// A part of the response has been let go, and there is more to come.
    Streaming,
    /// The body is whole; the trailers are to come.
    Trailers,
    /// The response is whole on the wire; the application has not said so yet.
    Satisfied,
    /// The response is whole.
    Complete,
    /// The response ended before its end: the protocol has to break it visibly.
    Truncated,
    /// There is no response: a WebSocket was accepted, and its session has the say.
    Upgraded,
    /// The client went.
    Disconnected,
}

/// What the body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// None goes on the wire; what the application sends is swallowed (HTTP-23).
    Swallowed,
    /// As many bytes as content-length promised.
    Promised { total: u64, left: u64 },
    /// Any number.
    Open,
}

/// What came of an event that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The event is to be put on the wire.
    Apply,
    /// It changes nothing.
    Ignore,
}

/// What to do with a part of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The head goes ahead of it.
    pub(crate) first: bool,
    /// The application says that it is the last.
    pub(crate) last: bool,
}

/// The response side of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    state: State,
    body: Body,
    to_head: bool,
    can_trail: bool,
    trailers: bool,
    is_websocket: bool,
    status: Option<u16>,
}

impl Exchange {
    /// No request yet.
    pub(crate) const fn none() -> Self {
        Self {
            state: State::Complete,
            body: Body::Open,
            to_head: false,
            can_trail: false,
            trailers: false,
            is_websocket: false,
            status: None,
        }
    }

    /// A request came in: `to_head` if its method is HEAD, `can_trail` if its response may have trailers (EXT-14).
    pub(crate) const fn open(to_head: bool, can_trail: bool) -> Self {
        Self { state: State::Waiting, to_head, can_trail, ..Self::none() }
    }

    /// A WebSocket handshake came in.
    pub(crate) const fn open_websocket() -> Self {
        Self { state: State::Waiting, is_websocket: true, ..Self::none() }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Whether the response is still to be made or finished.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Waiting | State::Held | State::Streaming | State::Trailers | State::Upgraded)
    }

    /// Whether nothing of a final response has been let go, so that it can still be another.
    pub(crate) const fn is_unanswered(&self) -> bool {
        matches!(self.state, State::Waiting | State::Held)
    }

    /// The status of the response, once it has started.
    pub(crate) const fn status(&self) -> Option<u16> {
        self.status
    }

    /// What content-length the application promised, where the response has a body.
    pub(crate) const fn promised(&self) -> Option<u64> {
        match self.body {
            Body::Promised { total, .. } => Some(total),
            _ => None,
        }
    }

    /// Of a body that ended before its promised length: (promised, sent) in bytes.
    pub(crate) const fn shortfall(&self) -> Option<(u64, u64)> {
        match (self.state, self.body) {
            (State::Truncated, Body::Promised { total, left }) => Some((total, total - left)),
            _ => None,
        }
    }

    /// Whether the response can have a body, by its method and status.
    pub(crate) const fn has_content(&self) -> bool {
        !matches!(self.body, Body::Swallowed)
    }

    /// Whether the method allows the response a body.
    pub(crate) const fn may_have_content(&self) -> bool {
        !self.to_head
    }

    /// Whether the trailers that the application announced can be sent.
    pub(crate) const fn has_trailers(&self) -> bool {
        self.trailers
    }

    /// The start of a response. With trailers announced where they cannot be sent, the body's end is the end (EXT-16).
    pub(crate) fn start(&mut self, event: &'static str, start: &ResponseStart) -> Result<Verdict, SendError> {
        self.check_type(event)?;
        match self.state {
            State::Waiting => {}
            State::Complete | State::Truncated => return Ok(Verdict::Ignore),
            _ => return Err(self.refuse(event)),
        }
        if !(200..=999).contains(&start.status) {
            return Err(SendError::Status(start.status));
        }
        let promised = promised_length(start)?;
        self.body = match promised {
            _ if !semantics::response_has_content(self.to_head, start.status) => Body::Swallowed,
            Some(total) => Body::Promised { total, left: total },
            None => Body::Open,
        };
        self.trailers = start.trailers && self.can_trail && self.body == Body::Open;
        self.status = Some(start.status);
        self.state = State::Held;
        Ok(Verdict::Apply)
    }

    /// A part of the body of `length` bytes. None: ignore it.
    #[inline]
    pub(crate) fn body(&mut self, event: &'static str, length: u64, more: bool) -> Result<Option<Part>, SendError> {
        self.check_type(event)?;
        let first = match self.state {
            State::Held => true,
            State::Streaming => false,
            State::Satisfied => return self.body_beyond(length, more),
            State::Complete | State::Truncated => return Ok(None),
            _ => return Err(self.refuse(event)),
        };
        let satisfied = match &mut self.body {
            Body::Swallowed => true,
            Body::Open => false,
            Body::Promised { total, left } => {
                *left = left.checked_sub(length).ok_or(SendError::BodyTooLong { promised: *total })?;
                *left == 0
            }
        };
        self.state = match (more, satisfied) {
            (true, true) => State::Satisfied,
            (true, false) => State::Streaming,
            (false, true) => State::Complete,
            (false, false) if self.promised().is_some() => State::Truncated,
            (false, false) if self.trailers => State::Trailers,
            (false, false) => State::Complete,
        };
        Ok(Some(Part { first, last: !more }))
    }

    /// For an event that is the whole body: nothing of a body may have come before.
    pub(crate) fn check_no_body_yet(&self, event: &'static str) -> Result<(), SendError> {
        match self.state {
            State::Streaming | State::Satisfied => Err(self.refuse(event)),
            _ => Ok(()),
        }
    }

    fn body_beyond(&mut self, length: u64, more: bool) -> Result<Option<Part>, SendError> {
        if let (Some(promised), 1..) = (self.promised(), length) {
            return Err(SendError::BodyTooLong { promised });
        }
        if !more {
            self.state = State::Complete;
        }
        Ok(None)
    }

    /// `http.response.trailers`.
    pub(crate) fn trailers(&mut self, more: bool) -> Result<Verdict, SendError> {
        match self.state {
            State::Trailers if more => Ok(Verdict::Apply),
            State::Trailers => {
                self.state = State::Complete;
                Ok(Verdict::Apply)
            }
            State::Satisfied | State::Complete | State::Truncated if !self.is_websocket => Ok(Verdict::Ignore),
            _ => Err(self.refuse("http.response.trailers")),
        }
    }

    /// `http.response.early_hint`; after the start it is ignored (EXT-12).
    pub(crate) fn early_hint(&self) -> Result<Verdict, SendError> {
        match self.state {
            _ if self.is_websocket => Err(self.refuse("http.response.early_hint")),
            State::Waiting => Ok(Verdict::Apply),
            State::Disconnected => Err(SendError::Disconnected),
            _ => Ok(Verdict::Ignore),
        }
    }

    /// Whether an event of a WebSocket may come that needs the handshake to be unanswered.
    pub(crate) fn check_connecting(&self, event: &'static str) -> Result<(), SendError> {
        match self.state {
            State::Waiting if self.is_websocket => Ok(()),
            _ => Err(self.refuse(event)),
        }
    }

    /// `websocket.accept`, which [`check_connecting`](Self::check_connecting) has allowed; by a response with this status.
    pub(crate) fn upgrade(&mut self, status: u16) {
        self.status = Some(status);
        self.state = State::Upgraded;
    }

    /// Whether the event belongs to this type of scope, as its name tells.
    fn check_type(&self, event: &'static str) -> Result<(), SendError> {
        if event.starts_with("websocket.") == self.is_websocket { Ok(()) } else { Err(self.refuse(event)) }
    }

    /// The application's call ended. [`State::Waiting`] or [`State::Held`] as the answer: a 500 is due; the caller then
    /// says [`answered`](Self::answered).
    pub(crate) fn finish(&mut self, outcome: Outcome) -> State {
        self.state = match (self.state, outcome) {
            (State::Streaming, _) | (State::Trailers, Outcome::Failed) => State::Truncated,
            (State::Trailers, Outcome::Returned) | (State::Satisfied, _) => State::Complete,
            (state, _) => state,
        };
        self.state
    }

    /// The server made the whole response itself.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = Some(status);
        self.state = State::Complete;
    }

    /// The client went. A response that is whole stays so.
    pub(crate) fn disconnect(&mut self) {
        if self.is_open() {
            self.state = State::Disconnected;
        }
    }

    /// Why the event may not come now. A WebSocket that has been denied is gone for its application (WS-19).
    pub(crate) fn refuse(&self, event: &'static str) -> SendError {
        let allowed = match self.state {
            State::Disconnected => return SendError::Disconnected,
            State::Waiting if self.is_websocket => "websocket.accept, websocket.close or websocket.http.response.start",
            State::Upgraded => "websocket.send or websocket.close",
            State::Held | State::Streaming if self.is_websocket => "websocket.http.response.body",
            _ if self.is_websocket => return SendError::Disconnected,
            State::Waiting => "http.response.start",
            State::Trailers => "http.response.trailers",
            _ => "http.response.body",
        };
        SendError::OutOfOrder { event, allowed }
    }
}

/// What the application's content-length says; several must agree.
fn promised_length(start: &ResponseStart) -> Result<Option<u64>, SendError> {
    if !start.headers.has(asgi::KnownField::ContentLength) {
        return Ok(None);
    }
    let mut lengths = start.headers.get_all(b"content-length").map(semantics::content_length);
    match lengths.next() {
        Some(Some(first)) if lengths.all(|other| other == Some(first)) => Ok(Some(first)),
        _ => Err(SendError::ContentLength),
    }
}
