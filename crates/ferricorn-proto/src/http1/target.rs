//! The forms of a request target (RFC 9112 section 3.2). This file knows nothing of the head around it.

use crate::error::RequestError;
use crate::semantics;

/// A target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// What the absolute form names; it replaces the Host.
    pub(super) authority: Option<&'a [u8]>,
    /// As received; `*` for the asterisk form.
    pub(super) path: &'a [u8],
    /// Behind the `?`.
    pub(super) query: &'a [u8],
}

impl<'a> Target<'a> {
    /// Takes a target apart, whose bytes have been checked.
    pub(super) fn new(target: &'a [u8], method: &str) -> Result<Self, RequestError> {
        if target.first() == Some(&b'/') {
            return Ok(Self::origin(target));
        }
        match method {
            "CONNECT" => Err(RequestError::Connect),
            "OPTIONS" if target == b"*" => Ok(Self { authority: None, path: target, query: b"" }),
            _ => Self::absolute(target, method),
        }
    }

    fn origin(target: &'a [u8]) -> Self {
        match memchr::memchr(b'?', target) {
            Some(mark) => Self { authority: None, path: &target[..mark], query: &target[mark + 1..] },
            None => Self { authority: None, path: target, query: b"" },
        }
    }

    fn absolute(target: &'a [u8], method: &str) -> Result<Self, RequestError> {
        let rest = without_scheme(target).ok_or(RequestError::Target)?;
        let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        // A name is needed here, unlike in Host (RFC 9110 section 4.2.1); user information is an error (4.2.4).
        if matches!(authority.first(), None | Some(b':')) || !semantics::is_host(authority) {
            return Err(RequestError::HostInvalid);
        }
        let mut parts = Self::origin(rest);
        parts.authority = Some(authority);
        if parts.path.is_empty() {
            // "OPTIONS http://host" is what a proxy turns into "OPTIONS *" (RFC 9112 section 3.2.4).
            parts.path = if method == "OPTIONS" && rest.is_empty() { b"*" } else { b"/" };
        }
        Ok(parts)
    }
}

fn without_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(|scheme| &target[scheme.len()..])
}
