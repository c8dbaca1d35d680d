//! Version 1: a line of text (proxy-protocol.txt section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use asgi::Address;

use super::{Found, Header, ProxyError, check_start};

/// The longest line that there can be, with its CRLF.
const LINE: usize = 107;

pub(super) fn read(input: &[u8]) -> Result<Option<Found>, ProxyError> {
    check_start(input, b"PROXY ")?;
    let window = &input[..input.len().min(LINE)];
    // The first CR ends the line, and an LF has to follow it.
    let Some(end) = memchr::memchr2(b'\r', b'\n', window) else {
        return if window.len() < LINE { Ok(None) } else { Err(ProxyError::Line) };
    };
    match window[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if window.len() < LINE => return Ok(None),
        _ => return Err(ProxyError::Line),
    }
    let line = str::from_utf8(&window[..end]).map_err(|_| ProxyError::Line)?;
    let header = line.get(6..).and_then(header).ok_or(ProxyError::Line)?;
    Ok(Some((header, end + 2, 0)))
}

/// What stands behind `PROXY `, exactly one space between its words.
fn header(text: &str) -> Option<Header> {
    let (protocol, rest) = text.split_once(' ').unwrap_or((text, ""));
    let address: fn(&str) -> Option<IpAddr> = match protocol {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        // Whatever stands behind it.
        "UNKNOWN" => return Some(Header::Unknown),
        _ => return None,
    };
    let words: Vec<_> = rest.split(' ').collect();
    let [client, server, client_port, server_port] = words[..] else { return None };
    let end = |host, digits| Some(Address::Ip(SocketAddr::new(address(host)?, port(digits)?)));
    Some(Header::Proxied { client: Some(end(client, client_port)?), server: Some(end(server, server_port)?) })
}

/// Decimal digits without a leading zero.
fn port(digits: &str) -> Option<u16> {
    let is_number = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}
