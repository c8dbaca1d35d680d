//! Who is believed: addresses, networks, the peers of unix sockets, everyone. This file knows no field.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Whose word counts. The default is nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    everyone: bool,
    unix: bool,
    networks: Vec<Network>,
}

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: u128,
    mask: u128,
    is_v6: bool,
}

/// An entry of the list that is none: the operator's mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTrust(String);

impl fmt::Display for InvalidTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTrust {}

impl Trust {
    /// Reads entries: an address, a network as `10.0.0.0/8`, `unix` for the peers of unix sockets, `*` for everyone. Empty
    /// ones are passed over.
    ///
    /// # Errors
    /// Where an entry is none of these, or has bits behind its prefix.
    pub fn read<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidTrust> {
        let mut trust = Self::default();
        for entry in entries.into_iter().map(str::trim) {
            match entry {
                "" => {}
                "*" => trust.everyone = true,
                "unix" => trust.unix = true,
                _ => trust.networks.push(Network::read(entry)?),
            }
        }
        Ok(trust)
    }

    /// Whether all are believed.
    pub fn is_everyone(&self) -> bool {
        self.everyone
    }

    /// Whether the peers of unix sockets, which have no address, are believed.
    pub fn has_unix(&self) -> bool {
        self.unix || self.everyone
    }

    /// Whether this address is believed. An IPv4 address that an IPv6 socket sees (RFC 4291 section 2.5.5.2) is that of
    /// IPv4.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.everyone || self.networks.iter().any(|network| network.has(address))
    }
}

impl Network {
    fn read(entry: &str) -> Result<Self, InvalidTrust> {
        let wrong =
            || InvalidTrust(format!("\"{entry}\" is no address, no network like 10.0.0.0/8, not unix and not *"));
        let (address, length) = match entry.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (entry, None),
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let (bits, width) = match written {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let length = match length {
            None => width,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|length| *length <= width).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let mask = prefix_mask(length, width);
        if bits & !mask != 0 {
            let first = with_bits(written, bits & mask);
            let hint = format!("the network is {first}/{length}, the address alone {written}");
            return Err(InvalidTrust(format!("\"{entry}\" has bits behind its prefix: {hint}")));
        }
        Ok(Self::canonical(written, bits, mask, length))
    }

    /// A network of IPv4 addresses as IPv6 sockets see them is one of IPv4.
    fn canonical(written: IpAddr, first: u128, mask: u128, length: u32) -> Self {
        match written {
            IpAddr::V6(address) if length >= 96 && address.to_ipv4_mapped().is_some() => {
                Self { first: first & 0xffff_ffff, mask: mask & 0xffff_ffff, is_v6: false }
            }
            _ => Self { first, mask, is_v6: written.is_ipv6() },
        }
    }

    fn has(&self, address: IpAddr) -> bool {
        let (bits, is_v6) = match address.to_canonical() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), false),
            IpAddr::V6(address) => (address.to_bits(), true),
        };
        is_v6 == self.is_v6 && bits & self.mask == self.first
    }
}

/// The first `length` of `width` bits.
fn prefix_mask(length: u32, width: u32) -> u128 {
    let all = u128::MAX >> (128 - width);
    all & u128::MAX.checked_shl(width - length).unwrap_or(0)
}

fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4((bits as u32).into()),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(list: &str, address: &str) -> bool {
        Trust::read(list.split(',')).unwrap().has_address(address.parse().unwrap())
    }

    #[test]
    fn addresses_and_networks_are_told_apart() {
        for (list, inside, outside) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.0"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("::1/128", "::1", "::2"),
            ("::1, 10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("127.0.0.1", "::ffff:127.0.0.1", "::7f00:1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "::ffff:10.0.0.2"),
        ] {
            assert!(has(list, inside), "{list} has {inside}");
            assert!(!has(list, outside), "{list} has not {outside}");
        }
    }

    #[test]
    fn nobody_unix_and_everyone() {
        let trust = |list: &str| Trust::read(list.split(',')).unwrap();
        let (nobody, unix, everyone) = (trust(" ,"), trust("unix"), trust("10.0.0.1,*"));
        assert_eq!(nobody, Trust::default());
        assert!(!nobody.has_unix() && unix.has_unix() && everyone.has_unix());
        assert!(!unix.is_everyone() && everyone.is_everyone());
        let address = "192.0.2.1".parse().unwrap();
        assert!(!nobody.has_address(address) && !unix.has_address(address) && everyone.has_address(address));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for entry in
            ["localhost", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "/8", "10.0.0.1:80", "**"]
        {
            let expected = format!("\"{entry}\" is no address, no network like 10.0.0.0/8, not unix and not *");
            assert_eq!(Trust::read([entry]).unwrap_err().to_string(), expected);
        }
        assert_eq!(
            Trust::read(["10.0.0.1/8"]).unwrap_err().to_string(),
            "\"10.0.0.1/8\" has bits behind its prefix: the network is 10.0.0.0/8, the address alone 10.0.0.1"
        );
        assert_eq!(
            Trust::read(["2001:db8::1/32"]).unwrap_err().to_string(),
            "\"2001:db8::1/32\" has bits behind its prefix: the network is 2001:db8::/32, the address alone 2001:db8::1"
        );
    }
}
