//! The parts of a scope that are made from the request target.

use std::borrow::Cow;

/// The scope's `path`: `root_path` is before it, where a proxy has taken it away (SCP-22, SCP-23).
#[inline]
pub(crate) fn full_path<'a>(root_path: &str, path: Cow<'a, str>) -> Cow<'a, str> {
    if root_path.is_empty() || is_under(root_path, &path) {
        return path;
    }
    Cow::Owned(format!("{root_path}{path}"))
}

fn is_under(root_path: &str, path: &str) -> bool {
    path.strip_prefix(root_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path percent-decoded once, then UTF-8 with U+FFFD for what is none (SCP-20, SCP-21).
#[inline]
pub(crate) fn decode(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'%') {
        // The usual case costs half of what the other function takes.
        return std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = tail;
            }
            _ => bytes.push(*byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

const fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scp_20_decodes_once() {
        assert_eq!(decode(b"/a%2Fb%20c+d%252F"), "/a/b c+d%2F");
        assert_eq!(decode(b"/%zz%4"), "/%zz%4");
        assert!(matches!(decode(b"/plain"), Cow::Borrowed("/plain")));
    }

    #[test]
    fn scp_21_replaces_what_is_no_utf_8() {
        assert_eq!(decode(b"/%ff\xfe"), "/\u{fffd}\u{fffd}");
        assert_eq!(decode("/\u{e9}".as_bytes()), "/\u{e9}");
    }

    #[test]
    fn scp_23_puts_a_root_path_back_only_where_it_is_missing() {
        for (path, expected) in
            [("/users", "/api/users"), ("/api/users", "/api/users"), ("/api", "/api"), ("/apis", "/api/apis")]
        {
            assert_eq!(full_path("/api", Cow::Borrowed(path)), expected);
        }
    }
}
