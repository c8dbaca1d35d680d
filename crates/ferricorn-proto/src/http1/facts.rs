//! What the fields of a request say about its connection and its framing, gathered while they are read. This file knows no
//! version and decides nothing: the same facts stand for every request that repeats the fields.

use crate::error::RequestError;
use crate::semantics;

/// What a header block says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) has_host: bool,
    pub(super) content_length: Option<u64>,
    pub(super) coding: Coding,
    /// `connection: close`
    pub(super) close: bool,
    /// `connection: keep-alive`
    pub(super) keep_alive: bool,
    /// `connection: upgrade`
    pub(super) upgrade: bool,
    /// `upgrade: websocket`
    pub(super) websocket: bool,
    /// `te: trailers`
    pub(super) te_trailers: bool,
    pub(super) expect: Expect,
}

/// What the members of Transfer-Encoding say, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is no such field.
    #[default]
    Absent,
    /// Exactly `chunked`.
    Chunked,
    /// Others, then `chunked`.
    OthersThenChunked,
    /// Others only.
    Others,
    /// Something behind `chunked`.
    BehindChunked,
}

/// What Expect says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Expect {
    /// There is no such field.
    #[default]
    Nothing,
    /// `100-continue`
    Continue,
    /// Something else.
    Other,
}

impl Facts {
    /// Takes note of a field, its name in lowercase.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), RequestError> {
        match name {
            b"te" => self.te(value),
            b"host" => self.host(value)?,
            b"expect" => self.expect(value),
            b"upgrade" => self.upgrade(value),
            b"connection" => self.connection(value),
            b"content-length" => self.content_length(value)?,
            b"transfer-encoding" => self.transfer_encoding(value),
            _ => {}
        }
        Ok(())
    }

    fn host(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if self.has_host {
            return Err(RequestError::HostRepeated);
        }
        self.has_host = true;
        if semantics::is_host(value) { Ok(()) } else { Err(RequestError::HostInvalid) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), RequestError> {
        match (self.content_length, semantics::content_length(value)) {
            (None, length @ Some(_)) => {
                self.content_length = length;
                Ok(())
            }
            _ => Err(RequestError::ContentLength),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) {
        for coding in semantics::members(value) {
            self.coding = match (self.coding, coding.eq_ignore_ascii_case(b"chunked")) {
                (Coding::Absent, true) => Coding::Chunked,
                (Coding::Others, true) => Coding::OthersThenChunked,
                (Coding::Absent | Coding::Others, false) => Coding::Others,
                _ => Coding::BehindChunked,
            };
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in semantics::members(value) {
            match option.len() {
                5 => self.close |= option.eq_ignore_ascii_case(b"close"),
                7 => self.upgrade |= option.eq_ignore_ascii_case(b"upgrade"),
                10 => self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive"),
                _ => {}
            }
        }
    }

    fn upgrade(&mut self, value: &[u8]) {
        self.websocket |= semantics::members(value).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    }

    fn te(&mut self, value: &[u8]) {
        self.te_trailers |= semantics::members(value).any(|member| member.eq_ignore_ascii_case(b"trailers"));
    }

    fn expect(&mut self, value: &[u8]) {
        self.expect = match (self.expect, value.eq_ignore_ascii_case(b"100-continue")) {
            (Expect::Nothing | Expect::Continue, true) => Expect::Continue,
            _ => Expect::Other,
        };
    }
}
