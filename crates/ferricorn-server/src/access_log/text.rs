//! How values stand in a line: numbers, addresses, and what the peer said, escaped so that nothing of it can end a value,
//! end a line or steer a terminal. Knows no format.

use std::io::Write;
use std::net::SocketAddr;

use asgi::Address;
use ferricorn_proto::write_decimal;

/// Writes a decimal number; most have few digits.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=255 => small(out, number as u8),
        256..=65_535 => {
            let high = (number / 100) as u16;
            if high < 100 {
                small(out, high as u8);
            } else {
                small(out, (high / 100) as u8);
                pair(out, (high % 100) as u8);
            }
            pair(out, (number % 100) as u8);
        }
        _ => write_decimal(out, number),
    }
}

/// The digits of every byte, and how many they are.
const SMALL: [([u8; 3], u8); 256] = {
    let mut table = [([0; 3], 0); 256];
    let mut value = 0;
    while value < 256 {
        let (hundreds, tens, ones) = (value / 100, value / 10 % 10, value % 10);
        let [hundreds, tens, ones] = [b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8];
        table[value] = match value {
            0..=9 => ([ones, 0, 0], 1),
            10..=99 => ([tens, ones, 0], 2),
            _ => ([hundreds, tens, ones], 3),
        };
        value += 1;
    }
    table
};

fn small(out: &mut Vec<u8>, number: u8) {
    let (digits, length) = &SMALL[usize::from(number)];
    out.extend_from_slice(&digits[..usize::from(*length)]);
}

/// Two digits of a number below 100.
fn pair(out: &mut Vec<u8>, number: u8) {
    out.extend_from_slice(&[b'0' + number / 10, b'0' + number % 10]);
}

/// Writes the last `width` digits of a number, zeros ahead of them.
pub(super) fn padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Writes an address with its port, as [`Address`] is displayed; IPv4, which most are, without the formatter's detours.
pub(super) fn address(out: &mut Vec<u8>, address: &Address) {
    match address {
        Address::Ip(SocketAddr::V4(ip)) => {
            octets(out, ip.ip().octets());
            out.push(b':');
            number(out, u64::from(ip.port()));
        }
        Address::Ip(ip) => display(out, ip),
        Address::Name(name, port) => {
            escape(out, name.as_bytes());
            out.push(b':');
            number(out, u64::from(*port));
        }
        Address::Unix(path) => escape(out, path.as_bytes()),
    }
}

/// Writes an address without its port.
pub(super) fn host(out: &mut Vec<u8>, address: &Address) {
    match address {
        Address::Ip(SocketAddr::V4(ip)) => octets(out, ip.ip().octets()),
        Address::Ip(ip) => display(out, ip.ip()),
        Address::Unix(path) | Address::Name(path, _) => escape(out, path.as_bytes()),
    }
}

fn octets(out: &mut Vec<u8>, octets: [u8; 4]) {
    let mut text = [b'.'; 16];
    let mut end = 0;
    for octet in octets {
        let (digits, length) = &SMALL[usize::from(octet)];
        // Always three digits, of which the next ones overwrite what is too much.
        text[end..end + 3].copy_from_slice(digits);
        end += usize::from(*length);
        text[end] = b'.';
        end += 1;
    }
    out.extend_from_slice(&text[..end - 1]);
}

/// Writes what can display itself.
pub(super) fn display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // A vector takes everything.
    let _ = write!(out, "{value}");
}

/// Whether a byte is itself in an escaped text: printable ASCII but for the quote and the backslash.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Writes bytes of the peer as Apache does (`ap_escape_logitem`): `\"`, `\\`, `\n`, and the like; `\xhh` for every other
/// byte that is not printable ASCII.
pub(super) fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|&byte| !is_plain(byte)) {
        out.extend_from_slice(&rest[..end]);
        escape_byte(out, rest[end]);
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0b => b'v',
        _ => return display(out, format_args!("\\x{byte:02x}")),
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// Writes a JSON string, quotes included (RFC 8259 section 7). What is no UTF-8 becomes U+FFFD; whatever is not printable
/// ASCII is written as `\uXXXX`, so that no reader sees a line end or a control character in it.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    if bytes.iter().all(|&byte| is_plain(byte)) {
        out.extend_from_slice(bytes);
    } else {
        String::from_utf8_lossy(bytes).chars().for_each(|character| json_character(out, character));
    }
    out.push(b'"');
}

fn json_character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
        ' '..='~' => out.push(character as u8),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                display(out, format_args!("\\u{unit:04x}"));
            }
        }
    }
}

/// The user of `Basic` credentials (RFC 7617): what stands ahead of the first colon.
pub(super) fn basic_user(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credentials) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut decoded = base64(credentials.trim_ascii())?;
    let end = decoded.iter().position(|&byte| byte == b':')?;
    decoded.truncate(end);
    (end > 0).then_some(decoded)
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0);
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    for &byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers() {
        for value in (0..70_000).chain([99_999, 1_000_000, u64::MAX]) {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
        assert_eq!(written(|out| padded(out, 42, 6)), "000042");
        assert_eq!(written(|out| padded(out, 12_345, 2)), "45");
    }

    #[test]
    fn addresses_are_written_as_they_are_displayed() {
        for text in [
            "127.0.0.1:80",
            "255.0.10.9:65535",
            "200.255.255.255:9999",
            "1.20.99.100:256",
            "[::1]:1",
            "[2001:db8::7]:443",
        ] {
            let parsed = Address::Ip(text.parse().unwrap());
            assert_eq!(written(|out| address(out, &parsed)), text);
        }
        assert_eq!(written(|out| host(out, &Address::Ip("127.0.0.1:80".parse().unwrap()))), "127.0.0.1");
        assert_eq!(written(|out| host(out, &Address::Ip("[::1]:80".parse().unwrap()))), "::1");
        assert_eq!(written(|out| address(out, &Address::Unix("/run/\n".to_owned()))), "/run/\\n");
    }

    #[test]
    fn escapes_are_those_of_apache() {
        let hostile = b"a\"b\\c\nd\re\tf\x08g\x0bh\x00i\x1b[31mj\x7fk\xc2\x85l\xff";
        let shown = r#"a\"b\\c\nd\re\tf\bg\vh\x00i\x1b[31mj\x7fk\xc2\x85l\xff"#;
        assert_eq!(written(|out| escape(out, hostile)), shown);
    }

    #[test]
    fn json_strings_are_ascii() {
        let hostile = "a\"b\\c\nd\u{1b}\u{7f}\u{85}\u{2028}\u{1f600}".as_bytes();
        let shown = r#""a\"b\\c\u000ad\u001b\u007f\u0085\u2028\ud83d\ude00""#;
        assert_eq!(written(|out| json(out, hostile)), shown);
        assert_eq!(written(|out| json(out, b"\xff/")), r#""\ufffd/""#);
    }

    #[test]
    fn the_user_of_basic_credentials() {
        assert_eq!(basic_user(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), Some(b"Aladdin".to_vec()));
        assert_eq!(basic_user(b"basic YTpi"), Some(b"a".to_vec()));
        for none in [&b""[..], b"Basic", b"Basic ???", b"Bearer YTpi", b"Basic Og==", b"Basic YQ=="] {
            assert_eq!(basic_user(none), None, "{}", none.escape_ascii());
        }
    }
}
