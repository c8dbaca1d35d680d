//! RFC 9112 section 6: how long a body is. Decided here once for each direction, and nowhere else. This file knows no
//! bytes of a head and no state.

use asgi::HttpVersion;

use super::chunked::ChunkedDecoder;
use super::facts::{Coding, Facts};
use crate::error::RequestError;
use crate::exchange::Exchange;

/// How the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestBody {
    /// There is none.
    None,
    /// After so many bytes, one or more.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// How the body of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseBody {
    /// With the head: the response has no content, whatever its fields say.
    None,
    /// After the number of bytes that the application's own content-length says.
    Promised,
    /// After so many bytes; content-length is to be added.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// The body of a request (RFC 9112 section 6.3, for a server).
pub(super) fn request_body(
    facts: &Facts,
    version: HttpVersion,
    limit: Option<u64>,
) -> Result<RequestBody, RequestError> {
    // 1. HTTP/1.0 has no transfer codings: who sends one was read differently somewhere on the way (section 6.1).
    if facts.coding != Coding::Absent && version == HttpVersion::Http10 {
        return Err(RequestError::CodingInHttp10);
    }
    // 2. Both a length and a coding: an attempt at smuggling, or as dangerous as one (section 6.3, item 3).
    if facts.coding != Coding::Absent && facts.content_length.is_some() {
        return Err(RequestError::LengthAndCoding);
    }
    // 3. A coding: exactly chunked (section 6.3, item 4; unknown ones are 501 by section 6.1).
    match facts.coding {
        Coding::Absent => {}
        Coding::Chunked => return Ok(RequestBody::Chunked),
        Coding::OthersThenChunked => return Err(RequestError::CodingUnknown),
        Coding::Others | Coding::BehindChunked => return Err(RequestError::CodingNotChunked),
    }
    // 4. A length (items 5 and 6), or no body (item 7).
    match facts.content_length {
        None | Some(0) => Ok(RequestBody::None),
        Some(length) if limit.is_some_and(|limit| length > limit) => Err(RequestError::BodyTooLarge),
        Some(length) => Ok(RequestBody::Length(length)),
    }
}

/// The body of a response whose head goes out with a first part of `length` bytes, which is the `last` one or not.
pub(super) fn response_body(exchange: &Exchange, version: HttpVersion, length: u64, last: bool) -> ResponseBody {
    // 1. HEAD, 204 and 304 have none. The length that GET would have told may be told (RFC 9110 section 8.6).
    if !exchange.has_content() {
        return ResponseBody::None;
    }
    // 2. The application's own content-length stays.
    if exchange.promised().is_some() {
        return ResponseBody::Promised;
    }
    // 3. The whole body is here: its length is known.
    if last && !exchange.has_trailers() {
        return ResponseBody::Length(length);
    }
    // 4. Chunked where the client knows that (HTTP-20), else until the connection closes.
    match version {
        HttpVersion::Http10 => ResponseBody::Close,
        _ => ResponseBody::Chunked,
    }
}

/// Reads the body of a request off the input.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyReader {
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// What a [`BodyReader`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyPart {
    /// Where the data is in the input.
    pub(super) start: usize,
    pub(super) end: usize,
    /// How many bytes of the input are done with.
    pub(super) consumed: usize,
    /// Whether the body is whole.
    pub(super) complete: bool,
}

impl BodyReader {
    /// Takes what there is of the body; the data of several chunks is moved together in place.
    pub(super) fn read(&mut self, input: &mut [u8], limit: Option<u64>) -> Result<BodyPart, RequestError> {
        match self {
            Self::Chunked(decoder) => decoder.decode(input, limit),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                Ok(BodyPart { start: 0, end: taken, consumed: taken, complete: *left == 0 })
            }
        }
    }

    /// How many bytes are left at least.
    pub(super) const fn left(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(decoder) => decoder.left(),
        }
    }
}
