//! One element of a `Forwarded` field (RFC 7239 section 4): pairs of names and values. This file knows nothing of what a
//! value means.

use std::borrow::Cow;

/// What one proxy told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// `for`
    pub(super) client: Option<Cow<'a, [u8]>>,
    pub(super) proto: Option<Cow<'a, [u8]>>,
    pub(super) host: Option<Cow<'a, [u8]>>,
}

impl<'a> Element<'a> {
    /// Reads `name=value` pairs with semicolons between them. White space around these and colons in a bare value are
    /// taken: they are sent. None where it is something else, or says one thing twice.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        let mut element = Self::default();
        let mut rest = text.trim_ascii();
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix(b";") {
                rest = tail.trim_ascii_start();
                continue;
            }
            let equals = memchr::memchr(b'=', rest)?;
            let (name, (value, tail)) = (&rest[..equals], read_value(&rest[equals + 1..])?);
            if !crate::semantics::is_token(name) {
                return None;
            }
            element.note(name, value)?;
            rest = tail.trim_ascii_start();
            if !(rest.is_empty() || rest.starts_with(b";")) {
                return None;
            }
        }
        Some(element)
    }

    /// None where it has been said before.
    fn note(&mut self, name: &[u8], value: Cow<'a, [u8]>) -> Option<()> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let kept = if is("for") {
            &mut self.client
        } else if is("proto") {
            &mut self.proto
        } else if is("host") {
            &mut self.host
        } else {
            return Some(());
        };
        kept.replace(value).is_none().then_some(())
    }
}

/// A bare or quoted value (RFC 9110 sections 5.6.2 and 5.6.4), and what stands behind it.
fn read_value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|&byte| byte == b';' || byte.is_ascii_whitespace()).unwrap_or(text.len());
        let is_bare = !text[..end].iter().any(|byte| matches!(byte, b'"' | b'=' | b'\\'));
        return (end > 0 && is_bare).then(|| (Cow::Borrowed(&text[..end]), &text[end..]));
    };
    let mut at = 0;
    let mut unescaped: Option<Vec<u8>> = None;
    loop {
        let byte = *quoted.get(at)?;
        match byte {
            b'"' => break,
            b'\\' => {
                at += 1;
                let escaped = *quoted.get(at)?;
                unescaped.get_or_insert_with(|| quoted[..at - 1].to_vec()).push(escaped);
            }
            _ => {
                if let Some(unescaped) = &mut unescaped {
                    unescaped.push(byte);
                }
            }
        }
        at += 1;
    }
    let value = unescaped.map_or(Cow::Borrowed(&quoted[..at]), Cow::Owned);
    Some((value, &quoted[at + 1..]))
}

/// The elements of a field's value from the last to the first, without empty ones. Read from the end, because what stands
/// there was written by who is trusted: a quote that somebody left open ahead of it changes nothing about it.
pub(super) fn from_the_end(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    let elements = std::iter::from_fn(move || {
        let text = rest?;
        let comma = last_comma(text);
        rest = comma.map(|at| &text[..at]);
        Some(text[comma.map_or(0, |at| at + 1)..].trim_ascii())
    });
    elements.filter(|element| !element.is_empty())
}

/// Where the last comma stands that is not quoted.
fn last_comma(text: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (at, &byte) in text.iter().enumerate().rev() {
        match byte {
            b'"' if !is_escaped(&text[..at]) => quoted = !quoted,
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether what follows is escaped: an odd number of backslashes stands ahead of it.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<[Option<String>; 3]> {
        let text_of = |value: Cow<'_, [u8]>| String::from_utf8(value.into_owned()).unwrap();
        Element::read(text.as_bytes())
            .map(|element| [element.client, element.proto, element.host].map(|v| v.map(text_of)))
    }

    fn some(values: [&str; 3]) -> Option<[Option<String>; 3]> {
        Some(values.map(|value| (!value.is_empty()).then(|| value.to_owned())))
    }

    #[test]
    fn elements_are_read() {
        assert_eq!(read("for=192.0.2.43"), some(["192.0.2.43", "", ""]));
        assert_eq!(read("For=\"[2001:db8:cafe::17]:4711\""), some(["[2001:db8:cafe::17]:4711", "", ""]));
        assert_eq!(
            read("for=192.0.2.60;proto=http;by=203.0.113.43;HOST=example.org"),
            some(["192.0.2.60", "http", "example.org"])
        );
        assert_eq!(read(" ;for=a ; proto=b;; "), some(["a", "b", ""]));
        assert_eq!(read("host=\"a\\\"b\\\\c\""), some(["", "", "a\"b\\c"]));
        assert_eq!(read("host=\"a;b,c=d\""), some(["", "", "a;b,c=d"]));
        assert_eq!(read("for=[::1]:80"), some(["[::1]:80", "", ""]));
        assert_eq!(read("secret=x"), some(["", "", ""]));
        assert_eq!(read("for=\"\"").map(|[client, ..]| client), Some(Some(String::new())));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "for",
            "=a",
            "for=",
            "for =a",
            "for= a",
            "for=\"a",
            "for=\"a\\\"",
            "for=\"a\"b",
            "for=a b",
            "for=a\"",
            "for=a;for=b",
            "FOR=a;for=a",
            "for=a=b",
            "f\u{e4}=a",
            "for=a\\",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_end_is_read_first() {
        let elements = |text: &str| -> Vec<String> {
            from_the_end(text.as_bytes()).map(|element| String::from_utf8_lossy(element).into_owned()).collect()
        };
        assert_eq!(elements("a, b ,,c"), ["c", "b", "a"]);
        assert_eq!(elements("a=\"1,2\", b=\"\\\",\""), ["b=\"\\\",\"", "a=\"1,2\""]);
        assert_eq!(elements("a=\", b=\"c\""), ["b=\"c\"", "a=\""]);
        assert_eq!(elements("a=\", b=c"), ["b=c", "a=\""]);
        assert_eq!(elements("a\", b=\"c"), ["a\", b=\"c"]);
        assert!(elements(" , ").is_empty() && elements("").is_empty());
    }
}
