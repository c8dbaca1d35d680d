//! Header fields as an ordered list that keeps duplicates (HDR-01, HDR-02, HDR-09).
//!
//! The fields lie in one buffer in the form HTTP/1.1 writes them, `name: value\r\n`, with their places beside it: a
//! response whose fields need no change is one copy, and a scope's list costs two allocations however long it is.
//! Checking happens once, when a field is added; what a `Headers` holds may go to any protocol's wire.

use std::fmt;

/// An ordered list of header fields; names are lowercase tokens (RFC 9110 section 5.1), values hold no CR, LF or NUL.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    block: Vec<u8>,
    fields: Vec<Field>,
    known: u16,
}

#[derive(Clone, Copy)]
struct Field {
    start: u32,
    name_len: u32,
    value_len: u32,
    token: u32,
}

/// A token is a way to look a field up, and says nothing of it.
impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.name_len, self.value_len) == (other.start, other.name_len, other.value_len)
    }
}

impl Eq for Field {}

/// The fields that a server has to know when it frames a message: a set of them is kept beside the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum KnownField {
    /// `connection` (RFC 9110 section 7.6.1)
    Connection = 1,
    /// `content-length` (RFC 9110 section 8.6)
    ContentLength = 1 << 1,
    /// `date` (RFC 9110 section 6.6.1)
    Date = 1 << 2,
    /// `server` (RFC 9110 section 10.2.4)
    Server = 1 << 3,
    /// `transfer-encoding` (RFC 9112 section 6.1)
    TransferEncoding = 1 << 4,
    /// `keep-alive`, `proxy-connection` or `upgrade`: with the two above, what HTTP/2 forbids (RFC 9113 section 8.2.2)
    HopByHop = 1 << 5,
    /// `sec-websocket-protocol` (RFC 6455 section 11.3.4)
    SecWebSocketProtocol = 1 << 6,
    /// `forwarded` (RFC 7239) or one of `x-forwarded-for`, `-proto`, `-host`, `-port`, `-prefix`
    Forwarded = 1 << 7,
}

impl KnownField {
    fn of(name: &[u8]) -> Option<Self> {
        // The length decides first: most names match none of these lengths and first letters.
        Some(match (name.len(), name) {
            (4, b"date") => Self::Date,
            (6, b"server") => Self::Server,
            (7, b"upgrade") => Self::HopByHop,
            (9, b"forwarded") => Self::Forwarded,
            (10, b"connection") => Self::Connection,
            (10, b"keep-alive") => Self::HopByHop,
            (14, b"content-length") => Self::ContentLength,
            (15, b"x-forwarded-for") => Self::Forwarded,
            (16, b"proxy-connection") => Self::HopByHop,
            (16, b"x-forwarded-host" | b"x-forwarded-port") => Self::Forwarded,
            (17, b"transfer-encoding") => Self::TransferEncoding,
            (17, b"x-forwarded-proto") => Self::Forwarded,
            (18, b"x-forwarded-prefix") => Self::Forwarded,
            (22, b"sec-websocket-protocol") => Self::SecWebSocketProtocol,
            _ => return None,
        })
    }
}

/// Why a header field was refused (HDR-11, HDR-13). Nothing was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidHeader {
    /// The name is empty or has a byte that is no token character (RFC 9110 section 5.6.2).
    Name(Vec<u8>),
    /// The name starts with a colon: pseudo-header fields are the server's.
    PseudoHeader(Vec<u8>),
    /// The value of the named field has CR, LF or NUL in it (RFC 9110 section 5.5).
    Value(Vec<u8>),
    /// The fields together are larger than 4 GiB.
    TooLarge,
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "the header name \"{}\" is not a token", name.escape_ascii()),
            Self::PseudoHeader(name) => {
                write!(
                    f,
                    "the pseudo-header \"{}\" is the server's, an application may not send it",
                    name.escape_ascii()
                )
            }
            Self::Value(name) => write!(f, "the value of header \"{}\" has CR, LF or NUL in it", name.escape_ascii()),
            Self::TooLarge => f.write_str("the header fields are larger than 4 GiB"),
        }
    }
}

impl std::error::Error for InvalidHeader {}

impl Headers {
    /// An empty list; allocates nothing.
    pub const fn new() -> Self {
        Self { block: Vec::new(), fields: Vec::new(), known: 0 }
    }

    /// A list of these fields, in this order.
    ///
    /// # Errors
    /// As [`Headers::push`].
    #[expect(clippy::should_implement_trait, reason = "the trait's method cannot fail")]
    pub fn from_iter<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, InvalidHeader> {
        let mut headers = Self::new();
        for (name, value) in fields {
            headers.push(name.as_ref(), value.as_ref())?;
        }
        Ok(headers)
    }

    /// Adds a field at the end, its name lowercased (HDR-10) and its value without surrounding white space.
    ///
    /// # Errors
    /// Where the name is no token or the value would break the message: see [`InvalidHeader`].
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidHeader> {
        if !is_value(value) {
            return Err(InvalidHeader::Value(name.to_vec()));
        }
        let value = value.trim_ascii();
        let start = self.block.len();
        let end = start + name.len() + value.len() + 4;
        if u32::try_from(end).is_err() {
            return Err(InvalidHeader::TooLarge);
        }
        self.block.reserve(name.len() + value.len() + 4);
        self.push_name(name)?;
        self.push_value(start, value, 0);
        Ok(())
    }

    fn push_value(&mut self, start: usize, value: &[u8], token: u32) {
        let name_len = self.block.len() - start;
        if let Some(known) = KnownField::of(&self.block[start..]) {
            self.known |= known as u16;
        }
        self.block.extend_from_slice(b": ");
        self.block.extend_from_slice(value);
        self.block.extend_from_slice(b"\r\n");
        let (name_len, value_len) = (name_len as u32, value.len() as u32);
        self.fields.push(Field { start: start as u32, name_len, value_len, token });
    }

    /// Adds a field that a protocol's parser has checked already: `name` is a token, in any case, and `value` a field value
    /// without surrounding white space, in all far below 4 GiB. Looks at no byte twice.
    pub fn push_checked(&mut self, name: &[u8], value: &[u8]) {
        self.push_checked_with_token(name, value, 0);
    }

    /// As [`Headers::push_checked`], with a number that stands for this name and value on the connection they came on, and
    /// never for others there: who keeps something made of them finds it again by that. 0: nothing stands for them.
    pub fn push_checked_with_token(&mut self, name: &[u8], value: &[u8], token: u32) {
        debug_assert!(name.iter().all(|&byte| TOKEN[usize::from(byte)] != NO_TOKEN) && !name.is_empty());
        debug_assert!(
            !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) && value.trim_ascii().len() == value.len()
        );
        let start = self.block.len();
        self.block.reserve(name.len() + value.len() + 4);
        self.block.extend_from_slice(name);
        self.block[start..].make_ascii_lowercase();
        self.push_value(start, value, token);
    }

    /// Adds a field by its line as HTTP/1.1 writes it, `name: value\r\n`, `name_len` bytes of name in any case. A protocol's
    /// parser has checked all but the name, as for [`Headers::push_checked`]. The name in lowercase; None where it is no
    /// token, and then nothing was added.
    pub fn push_line(&mut self, line: &[u8], name_len: usize) -> Option<&[u8]> {
        debug_assert!(line[name_len..].starts_with(b": ") && line.ends_with(b"\r\n"));
        debug_assert!(is_value(&line[name_len + 2..line.len() - 2]));
        let start = self.block.len();
        self.block.extend_from_slice(line);
        let name_end = start + name_len;
        if !lowercase_token(&mut self.block[start..name_end]) {
            self.block.truncate(start);
            return None;
        }
        let value_len = line.len() - name_len - 4;
        let (name_len, value_len) = (name_len as u32, value_len as u32);
        self.fields.push(Field { start: start as u32, name_len, value_len, token: 0 });
        let name = &self.block[start..name_end];
        if let Some(known) = KnownField::of(name) {
            self.known |= known as u16;
        }
        Some(name)
    }

    fn push_name(&mut self, name: &[u8]) -> Result<(), InvalidHeader> {
        let start = self.block.len();
        self.block.extend_from_slice(name);
        if lowercase_token(&mut self.block[start..]) {
            return Ok(());
        }
        self.block.truncate(start);
        Err(match name.first() {
            Some(b':') => InvalidHeader::PseudoHeader(name.to_vec()),
            _ => InvalidHeader::Name(name.to_vec()),
        })
    }

    /// Takes every field out and keeps the memory.
    pub fn clear(&mut self) {
        self.block.clear();
        self.fields.clear();
        self.known = 0;
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The fields in order, as (name, value).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + DoubleEndedIterator + Clone {
        self.fields.iter().map(|field| {
            let name_end = field.start as usize + field.name_len as usize;
            let value_start = name_end + 2;
            (
                &self.block[field.start as usize..name_end],
                &self.block[value_start..value_start + field.value_len as usize],
            )
        })
    }

    /// The token of each field, in the order of [`Headers::iter`]: see [`Headers::push_checked_with_token`].
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = u32> {
        self.fields.iter().map(|field| field.token)
    }

    /// The values of every field with this (lowercase) name, in order.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of the first field with this (lowercase) name.
    pub fn get<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The same list with this value in every field of a (lowercase) name, ahead of the others where there is none. Both
    /// have been checked as for [`Headers::push_checked`].
    pub fn with_checked(&self, name: &[u8], value: &[u8]) -> Self {
        let mut headers = Self::new();
        if self.get(name).is_none() {
            headers.push_checked(name, value);
        }
        for ((kept, kept_value), token) in self.iter().zip(self.tokens()) {
            let (value, token) = if kept == name { (value, 0) } else { (kept_value, token) };
            headers.push_checked_with_token(kept, value, token);
        }
        headers
    }

    /// Whether there is such a field; costs no search.
    pub const fn has(&self, known: KnownField) -> bool {
        self.known & known as u16 != 0
    }

    /// All fields as HTTP/1.1 writes them, each ended by CRLF.
    pub fn as_block(&self) -> &[u8] {
        &self.block
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

/// Lowercases a name; whether it is a token.
fn lowercase_token(name: &mut [u8]) -> bool {
    let mut all = if name.is_empty() { NO_TOKEN } else { 0 };
    for byte in name {
        *byte = TOKEN[usize::from(*byte)];
        all |= *byte;
    }
    all & NO_TOKEN == 0
}

/// Whether the value has no CR, LF or NUL in it; eight bytes at a time, and few have any byte below the space.
fn is_value(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    let plain = words.iter().all(|word| {
        let word = u64::from_le_bytes(*word);
        word.wrapping_sub(0x2020_2020_2020_2020) & !word & 0x8080_8080_8080_8080 == 0
    });
    let is_allowed = |bytes: &[u8]| !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    is_allowed(rest) && (plain || is_allowed(value))
}

/// The mark of a byte that may not stand in a name; no token character has this bit.
const NO_TOKEN: u8 = 0x80;

/// Token characters (RFC 9110 section 5.6.2) in lowercase.
const TOKEN: [u8; 256] = {
    let mut table = [NO_TOKEN; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric()
            || matches!(c, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        {
            table[byte] = c.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hdr_02_keeps_duplicates_and_order() {
        let headers = Headers::from_iter([("Set-Cookie", "a=1"), ("x", "y"), ("set-cookie", "b=2")]).unwrap();
        let cookies: Vec<_> = headers.get_all(b"set-cookie").collect();
        assert_eq!(cookies, [b"a=1", b"b=2"]);
        assert_eq!(headers.as_block(), b"set-cookie: a=1\r\nx: y\r\nset-cookie: b=2\r\n");
    }

    #[test]
    fn hdr_11_refuses_pseudo_headers_and_adds_nothing() {
        let mut headers = Headers::new();
        assert_eq!(headers.push(b":status", b"200"), Err(InvalidHeader::PseudoHeader(b":status".to_vec())));
        assert!(headers.is_empty() && headers.as_block().is_empty());
    }

    #[test]
    fn hdr_13_refuses_what_would_break_the_message() {
        for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "0123456789\n", "\u{e9}\n234567", "12345678\r2345678"] {
            assert_eq!(Headers::new().push(b"x", value.as_bytes()), Err(InvalidHeader::Value(b"x".to_vec())));
        }
        for name in ["", "a b", "a:", "\u{e9}", "a\r\n"] {
            assert_eq!(Headers::new().push(name.as_bytes(), b""), Err(InvalidHeader::Name(name.into())));
        }
    }

    #[test]
    fn tokens_go_with_their_fields_and_count_for_nothing() {
        let mut headers = Headers::new();
        headers.push_checked(b"a", b"1");
        headers.push_checked_with_token(b"b", b"2", 64);
        headers.push_checked_with_token(b"c", b"3", 65);
        assert_eq!(headers.tokens().collect::<Vec<_>>(), [0, 64, 65]);
        assert_eq!(headers, Headers::from_iter([("a", "1"), ("b", "2"), ("c", "3")]).unwrap());
        assert_eq!(headers.with_checked(b"b", b"4").tokens().collect::<Vec<_>>(), [0, 0, 65]);
        assert_eq!(headers.with_checked(b"d", b"4").tokens().collect::<Vec<_>>(), [0, 0, 64, 65]);
    }

    #[test]
    fn a_line_is_what_its_parts_are() {
        let mut by_line = Headers::new();
        assert_eq!(by_line.push_line(b"Content-Length: 5\r\n", 14), Some(&b"content-length"[..]));
        assert_eq!(by_line.push_line(b"Not this: 5\r\n", 8), None);
        assert_eq!(by_line.push_line(b"x: \r\n", 1), Some(&b"x"[..]));
        let by_parts = Headers::from_iter([("content-length", "5"), ("x", "")]).unwrap();
        assert_eq!(by_line, by_parts);
        assert!(by_line.has(KnownField::ContentLength));
    }

    #[test]
    fn every_byte_is_a_token_character_or_none() {
        let allowed = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for byte in 0..=255_u8 {
            let result = Headers::new().push(&[byte], b"");
            assert_eq!(result.is_ok(), allowed.contains(&byte), "byte {byte}");
        }
    }

    #[test]
    fn known_fields_are_seen_whatever_their_case() {
        let headers = Headers::from_iter([("Content-Length", "1"), ("DATE", "x"), ("Upgrade", "y")]).unwrap();
        assert!(
            headers.has(KnownField::ContentLength)
                && headers.has(KnownField::Date)
                && headers.has(KnownField::HopByHop)
        );
        assert!(!headers.has(KnownField::Server) && !headers.has(KnownField::Connection));
    }

    #[test]
    fn what_proxies_tell_is_one_known_field() {
        for name in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"] {
            assert!(Headers::from_iter([(name, "x")]).unwrap().has(KnownField::Forwarded), "{name}");
        }
        assert!(Headers::from_iter([("x-forwarded-prefix", "")]).unwrap().has(KnownField::Forwarded));
        assert!(!Headers::from_iter([("x-forwarded-server", "x")]).unwrap().has(KnownField::Forwarded));
    }

    #[test]
    fn a_field_is_replaced_where_it_stands_or_put_first() {
        let headers = Headers::from_iter([("a", "1"), ("host", "x"), ("b", "2")]).unwrap();
        assert_eq!(headers.with_checked(b"host", b"y").as_block(), b"a: 1\r\nhost: y\r\nb: 2\r\n");
        assert_eq!(headers.with_checked(b"c", b"").as_block(), b"c: \r\na: 1\r\nhost: x\r\nb: 2\r\n");
    }
}
