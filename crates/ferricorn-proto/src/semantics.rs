//! RFC 9110: what methods, statuses and field values mean, whatever version carries them. This file knows no framing and
//! no state.

use crate::bytes;

/// Whether a final response carries content (RFC 9110 sections 9.3.2, 15.3.5, 15.4.5; HTTP-23).
pub(crate) const fn response_has_content(to_head: bool, status: u16) -> bool {
    !to_head && !matches!(status, 204 | 304)
}

/// A Content-Length: digits and nothing else (RFC 9110 section 8.6). A list of equal numbers, which the RFC lets one
/// take for one number, is none here: who sends that was already read differently by two parties.
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// The members of a comma-separated list (RFC 9110 section 5.6.1) without surrounding white space; empty ones included.
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 section 7.2), or empty.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let (host_is_valid, port) = match value {
        [b'[', rest @ ..] => match memchr::memchr(b']', rest) {
            Some(end) => (is_ip_literal(&rest[..end]), &rest[end + 1..]),
            None => return false,
        },
        _ => {
            let end = bytes::position(value, b':').unwrap_or(value.len());
            (is_registered_name(&value[..end]), &value[end..])
        }
    };
    host_is_valid
        && match port {
            [] => true,
            [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

fn is_ip_literal(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|&byte| is(byte, UNRESERVED | SUB_DELIM) || byte == b':')
}

fn is_registered_name(host: &[u8]) -> bool {
    host.iter().all(|&byte| is(byte, UNRESERVED | SUB_DELIM)) || is_percent_encoded_name(host)
}

fn is_percent_encoded_name(host: &[u8]) -> bool {
    let mut rest = host;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [a, b, tail @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => tail,
            _ if is(*byte, UNRESERVED | SUB_DELIM) => tail,
            _ => return false,
        };
    }
    true
}

/// Whether it is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_length(bytes) == bytes.len()
}

/// How many bytes at the front are token characters.
pub(crate) fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is(byte, TOKEN)).unwrap_or(bytes.len())
}

/// Whether a byte may stand in a token.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// Whether a byte may stand in a field's value: visible, white space or obs-text (RFC 9110 section 5.5).
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}

/// Whether all of it may stand in a request target. Wider than RFC 3986: browsers and curl send `|`, `{`, `"` and raw
/// UTF-8, and every server takes them; a fragment is refused, for some cut it off and some do not.
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    !bytes::has_control_space_or_hash(bytes)
}

const TOKEN: u8 = 1;
const UNRESERVED: u8 = 1 << 1;
const SUB_DELIM: u8 = 1 << 2;

fn is(byte: u8, classes: u8) -> bool {
    CLASSES[usize::from(byte)] & classes != 0
}

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 128 {
        table[index] = classes_of(index as u8);
        index += 1;
    }
    table
};

const fn classes_of(byte: u8) -> u8 {
    let mut classes = 0;
    if byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
    {
        classes |= TOKEN;
    }
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        classes |= UNRESERVED;
    }
    if matches!(byte, b'!' | b'$' | b'&'..=b',' | b';' | b'=') {
        classes |= SUB_DELIM;
    }
    classes
}
