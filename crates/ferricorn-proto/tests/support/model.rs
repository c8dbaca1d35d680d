//! What a response has to be, said a second time and more simply: the requirements as a few flags, without states, framing
//! or bytes on a wire.

use asgi::Outcome;
use ferricorn_proto::Finished;

use super::Action;
use super::client::{End, Response};

/// The request that is answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub to_head: bool,
    pub http10: bool,
    pub te_trailers: bool,
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    OutOfOrder,
    Status,
    ContentLength,
    TooLong,
    Header,
}

#[derive(Clone, Debug)]
pub struct Model {
    asked: Asked,
    status: Option<u16>,
    promised: Option<u64>,
    announced_trailers: bool,
    /// The parts of the body that were taken.
    body: Vec<u8>,
    body_begun: bool,
    body_ended: bool,
    trailers_ended: bool,
    trailers: Vec<(String, String)>,
    pub hints: usize,
    /// The server answered itself.
    own: Option<u16>,
    broken: bool,
}

impl Model {
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            status: None,
            promised: None,
            announced_trailers: false,
            body: Vec::new(),
            body_begun: false,
            body_ended: false,
            trailers_ended: false,
            trailers: Vec::new(),
            hints: 0,
            own: None,
            broken: false,
        }
    }

    fn has_content(&self) -> bool {
        !self.asked.to_head && !matches!(self.status, Some(204 | 304))
    }

    /// Whether trailers come behind the body.
    fn trails(&self) -> bool {
        let taken = self.asked.te_trailers && !self.asked.http10;
        self.announced_trailers && taken && self.has_content() && self.promised.is_none()
    }

    /// Whether all has gone that will go.
    fn is_over(&self) -> bool {
        self.own.is_some() || self.broken || self.body_ended && (!self.trails() || self.trailers_ended)
    }

    fn is_satisfied(&self) -> bool {
        self.body_begun && (!self.has_content() || self.promised == Some(self.body.len() as u64))
    }

    /// What becomes of a command.
    pub fn apply(&mut self, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::Start(start) => self.start(start),
            Action::Body { bytes, more } => self.part(bytes, *more),
            Action::File { bytes, offset, count, more } => {
                let (start, end) = (*offset as usize, (*offset + *count) as usize);
                self.part(&bytes[start..end], *more)
            }
            Action::Pathsend(_) if !self.is_over() && self.body_begun => Err(Refusal::OutOfOrder),
            Action::Pathsend(bytes) => self.part(bytes, false),
            Action::Trailers { headers, more } => {
                let fields = headers.iter().map(|(name, value)| (text(name), text(value)));
                let framing = ["connection", "content-length", "transfer-encoding"];
                self.trailers(fields.filter(|(name, _)| !framing.contains(&name.as_str())), *more)
            }
            Action::EarlyHint(links) => self.early_hint(links),
            Action::Refuse(status) => {
                if !self.is_over() && !self.is_satisfied() {
                    if self.body_begun { self.broken = true } else { self.own = Some(*status) }
                }
                Ok(())
            }
            // Those of a WebSocket, which no request of this model asks for.
            Action::Accept { .. } | Action::Send(_) | Action::Close { .. } => Err(Refusal::OutOfOrder),
            Action::Deny(_) | Action::DenyBody { .. } => Err(Refusal::OutOfOrder),
            _ => Ok(()),
        }
    }

    fn start(&mut self, start: &asgi::ResponseStart) -> Result<(), Refusal> {
        if self.is_over() {
            return Ok(());
        }
        if self.status.is_some() {
            return Err(Refusal::OutOfOrder);
        }
        if !(200..1000).contains(&start.status) {
            return Err(Refusal::Status);
        }
        let lengths: Vec<&[u8]> = start.headers.get_all(b"content-length").collect();
        let parsed: Option<Vec<u64>> = lengths.iter().map(|length| decimal(length)).collect();
        let parsed = parsed.ok_or(Refusal::ContentLength)?;
        if parsed.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(Refusal::ContentLength);
        }
        self.status = Some(start.status);
        self.promised = parsed.first().copied();
        self.announced_trailers = start.trailers;
        Ok(())
    }

    fn part(&mut self, bytes: &[u8], more: bool) -> Result<(), Refusal> {
        if self.is_over() {
            return Ok(());
        }
        if self.status.is_none() || self.body_ended {
            return Err(Refusal::OutOfOrder);
        }
        let promised = self.promised.filter(|_| self.has_content());
        if promised.is_some_and(|promised| (self.body.len() + bytes.len()) as u64 > promised) {
            return Err(Refusal::TooLong);
        }
        self.body_begun = true;
        self.body_ended = !more;
        self.body.extend_from_slice(bytes);
        self.broken = self.body_ended && promised.is_some_and(|promised| (self.body.len() as u64) < promised);
        Ok(())
    }

    fn trailers(&mut self, fields: impl Iterator<Item = (String, String)>, more: bool) -> Result<(), Refusal> {
        if self.is_over() || self.is_satisfied() {
            return Ok(());
        }
        if !self.body_ended {
            return Err(Refusal::OutOfOrder);
        }
        self.trailers.extend(fields);
        self.trailers_ended = !more;
        Ok(())
    }

    fn early_hint(&mut self, links: &[Vec<u8>]) -> Result<(), Refusal> {
        if links.concat().iter().any(|byte| b"\r\n\0".contains(byte)) {
            return Err(Refusal::Header);
        }
        let is_time = self.status.is_none() && !self.is_over();
        if is_time && !self.asked.http10 && !links.is_empty() {
            self.hints += 1;
        }
        Ok(())
    }

    /// The application's call ended.
    pub fn finish(&mut self, outcome: Outcome) -> Finished {
        if self.broken {
            return Finished::Truncated;
        }
        if self.is_over() || self.is_satisfied() {
            return Finished::Complete;
        }
        if !self.body_begun {
            self.own = Some(500);
            return if outcome == Outcome::Returned { Finished::NoResponse } else { Finished::Failed500 };
        }
        if self.body_ended && outcome == Outcome::Returned {
            self.trailers_ended = true;
            return Finished::Complete;
        }
        self.broken = true;
        Finished::Truncated
    }

    /// Holds what a client read against what was meant; `is_reset` when the connection is to be reset.
    pub fn check(&self, response: &Response, is_reset: bool) -> Result<(), String> {
        let fail = |what: &str| Err(format!("{what}: {response:?} of {self:?}"));
        if response.interim != vec![103; self.hints] {
            return fail("interim responses");
        }
        if let Some(status) = self.own {
            let is_own = response.status == status && response.closes() && !is_reset;
            return if is_own && response.end == End::Whole { Ok(()) } else { fail("the server's own answer") };
        }
        if Some(response.status) != self.status {
            return fail("the status");
        }
        let body: &[u8] = if self.has_content() { &self.body } else { b"" };
        if response.body != body || (self.trailers_ended && response.trailers != self.trailers) {
            return fail("the content");
        }
        // What is incomplete may look like anything but complete.
        match (self.broken, response.end) {
            (true, End::Missing | End::Connection) if is_reset => Ok(()),
            (false, End::Whole) if !is_reset => Ok(()),
            (false, End::Connection) if !is_reset && self.asked.http10 && response.closes() => Ok(()),
            _ => fail("the end"),
        }
    }

    /// Whether nothing is to be seen of a response yet.
    pub fn is_silent(&self) -> bool {
        self.own.is_none() && !self.body_begun
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    let is_decimal = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_decimal.then(|| text(value).parse().ok()).flatten()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
