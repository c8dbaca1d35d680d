//! What is read of a certificate beyond what rustls checks: its subject as RFC 4514 writes it, the DNS names that it is
//! for, and its last second (RFC 5280 sections 4.1.2.6, 4.2.1.6 and 4.1.2.5). It checks no signature and no date.

use std::fmt::Write;

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, the version, and `[3]`, the extensions, of a certificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[2]`, a name of DNS, of a `GeneralName`.
const DNS_NAME: u8 = 0x82;

const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The short names of RFC 4514 section 3; every other type is written as numbers.
const ATTRIBUTES: [(&[u8], &str); 9] = [
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
];

/// The distinguished name of a certificate's subject (RFC 4514): the last part first. None: it is no certificate.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let mut fields = fields(certificate)?;
    // The serial number, the algorithm, the issuer, the validity.
    for _ in 0..4 {
        fields.next()?;
    }
    let mut parts =
        Reader(fields.expect(SEQUENCE)?).map(|part| relative_name(part.content)).collect::<Option<Vec<_>>>()?;
    parts.reverse();
    Some(parts.join(","))
}

/// The last second of a certificate, since 1970. None: it is no certificate.
pub(super) fn expiry(certificate: &[u8]) -> Option<i64> {
    let mut fields = fields(certificate)?;
    // The serial number, the algorithm, the issuer.
    for _ in 0..3 {
        fields.next()?;
    }
    let end = Reader(fields.expect(SEQUENCE)?).nth(1)?;
    let digits = str::from_utf8(end.content).ok()?.strip_suffix('Z')?;
    match (end.tag, digits.len()) {
        // Two digits of the year: from 50 on those of the last century.
        (UTC_TIME, 12) => {
            let century = if digits.get(..2)? < "50" { "20" } else { "19" };
            seconds(&format!("{century}{digits}"))
        }
        (GENERALIZED_TIME, 14) => seconds(digits),
        _ => None,
    }
}

/// `YYYYMMDDHHMMSS` as seconds since 1970.
fn seconds(digits: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = digits.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i64>().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let time = number(8, 10)? * 3600 + number(10, 12)? * 60 + number(12, 14)?;
    // Years from March on: the day of a leap year is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(days * 86_400 + time)
}

/// The DNS names that a certificate is for, in lowercase; a wildcard is `*` and the rest.
pub(super) fn dns_names(certificate: &[u8]) -> Vec<String> {
    let Some(names) = alternative_names(certificate) else { return Vec::new() };
    let names = Reader(names).filter(|name| name.tag == DNS_NAME);
    names.filter_map(|name| str::from_utf8(name.content).ok()).map(str::to_ascii_lowercase).collect()
}

fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let extensions = fields(certificate)?.find(|field| field.tag == EXTENSIONS)?;
    for extension in Reader(Reader(extensions.content).expect(SEQUENCE)?) {
        let mut parts = Reader(extension.content);
        if parts.expect(OBJECT_IDENTIFIER)? == SUBJECT_ALTERNATIVE_NAME {
            // Whether it is critical may stand ahead of it.
            let value = parts.find(|part| part.tag == OCTET_STRING)?;
            return Reader(value.content).expect(SEQUENCE);
        }
    }
    None
}

/// What is signed of a certificate, behind its version.
fn fields(certificate: &[u8]) -> Option<Reader<'_>> {
    let mut fields = Reader(Reader(Reader(certificate).expect(SEQUENCE)?).expect(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    Some(fields)
}

/// One part of a distinguished name: most often one attribute, else several joined by `+`.
fn relative_name(set: &[u8]) -> Option<String> {
    let mut text = String::new();
    for attribute in Reader(set) {
        let mut parts = Reader(attribute.content);
        let kind = parts.expect(OBJECT_IDENTIFIER)?;
        let value = parts.next()?;
        if !text.is_empty() {
            text.push('+');
        }
        match (ATTRIBUTES.iter().find(|(known, _)| *known == kind), value.text()) {
            (Some((_, name)), Some(value)) => {
                let _ = write!(text, "{name}={}", escaped(&value));
            }
            _ => {
                let _ = write!(text, "{}=#{}", dotted(kind), data_encoding::HEXLOWER.encode(value.whole));
            }
        }
    }
    Some(text)
}

/// A value as RFC 4514 section 2.4 escapes it.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', character]),
            '#' if index == 0 => text.push_str("\\#"),
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            '\0' => text.push_str("\\00"),
            _ => text.push(character),
        }
    }
    text
}

/// An object identifier in numbers.
fn dotted(identifier: &[u8]) -> String {
    let mut text = String::new();
    let mut number = 0_u64;
    for byte in identifier {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        let _ = match text.is_empty() {
            // The first two numbers are one (X.690 section 8.19.4).
            true => write!(text, "{}.{}", (number / 40).min(2), number - 40 * (number / 40).min(2)),
            false => write!(text, ".{number}"),
        };
        number = 0;
    }
    text
}

/// One element of the distinguished encoding rules (X.690).
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// With its tag and length.
    whole: &'a [u8],
}

impl Element<'_> {
    /// What it says, where it is a string.
    fn text(&self) -> Option<String> {
        let wide = |count| {
            self.content.chunks_exact(count).map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        match self.tag {
            // UTF8String, NumericString, PrintableString, IA5String, VisibleString
            0x0c | 0x12 | 0x13 | 0x16 | 0x1a => str::from_utf8(self.content).ok().map(str::to_owned),
            // TeletexString, which everybody writes as Latin-1
            0x14 => Some(self.content.iter().map(|byte| char::from(*byte)).collect()),
            // UniversalString
            0x1c => wide(4).map(char::from_u32).collect(),
            // BMPString
            0x1e => char::decode_utf16(wide(2).map(|unit| unit as u16)).collect::<Result<_, _>>().ok(),
            _ => None,
        }
    }
}

/// Elements one behind the other; ends at what is none.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element, where it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let &[tag, first, ref rest @ ..] = self.0 else { return None };
        let (length, header) = match usize::from(first) {
            length @ ..0x80 => (length, 2),
            long => {
                let count = long - 0x80;
                let digits = rest.get(..count).filter(|_| count <= 4)?;
                (digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), 2 + count)
            }
        };
        let whole = self.0.get(..header.checked_add(length)?)?;
        self.0 = &self.0[whole.len()..];
        Some(Element { tag, content: &whole[header..], whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: u8 = 0x31;

    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut bytes = vec![tag];
        match content.len() {
            length @ ..0x80 => bytes.push(length as u8),
            length => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        bytes.extend(content);
        bytes
    }

    fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[kind]), &element(tag, &[value])])
    }

    fn certificate(subject: &[Vec<u8>], names: &[&str]) -> Vec<u8> {
        let subject: Vec<_> = subject.iter().map(|attributes| element(SET, &[attributes])).collect();
        let names: Vec<_> = names.iter().map(|name| element(DNS_NAME, &[name.as_bytes()])).collect();
        let names = element(OCTET_STRING, &[&element(SEQUENCE, &[&names.concat()])]);
        let extension =
            element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[SUBJECT_ALTERNATIVE_NAME]), &[1, 1, 0xff], &names]);
        let other = element(
            SEQUENCE,
            &[&element(OBJECT_IDENTIFIER, &[&[0x55, 0x1d, 0x0f]]), &element(OCTET_STRING, &[&[5, 0]])],
        );
        let nothing = element(SEQUENCE, &[]);
        let signed = element(
            SEQUENCE,
            &[
                &element(VERSION, &[&[2, 1, 2]]),
                &[2, 1, 7],
                &nothing,
                &nothing,
                &nothing,
                &element(SEQUENCE, &[&subject.concat()]),
                &nothing,
                &element(EXTENSIONS, &[&element(SEQUENCE, &[&other, &extension])]),
            ],
        );
        element(SEQUENCE, &[&signed, &nothing])
    }

    fn subject_of(parts: &[Vec<u8>]) -> String {
        subject(&certificate(parts, &[])).unwrap()
    }

    #[test]
    fn tls_04_a_subject_is_written_with_its_last_part_first() {
        let parts = [
            attribute(ATTRIBUTES[5].0, 0x13, b"DE"),
            attribute(ATTRIBUTES[3].0, 0x0c, "B\u{fc}ro".as_bytes()),
            [attribute(ATTRIBUTES[4].0, 0x14, b"\xe9"), attribute(ATTRIBUTES[0].0, 0x1e, b"\0a\0b")].concat(),
        ];
        assert_eq!(subject_of(&parts), "OU=\u{e9}+CN=ab,O=B\u{fc}ro,C=DE");
        assert_eq!(subject_of(&[]), "");
    }

    #[test]
    fn tls_04_what_would_be_misread_is_escaped() {
        let name = |value: &[u8]| subject_of(&[attribute(ATTRIBUTES[0].0, 0x0c, value)]);
        assert_eq!(name(b"a,b+c\"d\\e<f>g;h=i"), "CN=a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=i");
        assert_eq!(name(b" a "), "CN=\\ a\\ ");
        assert_eq!(name(b"#a#"), "CN=\\#a#");
        assert_eq!(name(b"a\0"), "CN=a\\00");
        assert_eq!(name(b" "), "CN=\\ ");
    }

    #[test]
    fn tls_04_other_types_are_numbers() {
        let mail = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];
        assert_eq!(subject_of(&[attribute(&mail, 0x16, b"a@b")]), "1.2.840.113549.1.9.1=#1603614062");
        assert_eq!(dotted(&[0x88, 0x37, 0x03]), "2.999.3");
    }

    #[test]
    fn the_last_second_is_read() {
        // Each as `date -u -d` has it.
        for (digits, expected) in [
            ("19700101000000", 0),
            ("20000229123456", 951_827_696),
            ("20240301000000", 1_709_251_200),
            ("20991231235959", 4_102_444_799),
            ("99991231235959", 253_402_300_799),
        ] {
            assert_eq!(seconds(digits), Some(expected), "{digits}");
        }
        assert_eq!(seconds("2024030100000"), None);
        assert_eq!(seconds("2024-30100000+"), None);
        let issued = |tag, end: &str| {
            let validity =
                element(SEQUENCE, &[&element(UTC_TIME, &[b"200101000000Z"]), &element(tag, &[end.as_bytes()])]);
            let nothing = element(SEQUENCE, &[]);
            element(SEQUENCE, &[&element(SEQUENCE, &[&[2, 1, 7], &nothing, &nothing, &validity])])
        };
        assert_eq!(expiry(&issued(UTC_TIME, "491231235959Z")), Some(2_524_607_999));
        assert_eq!(expiry(&issued(UTC_TIME, "500101000000Z")), Some(-631_152_000));
        assert_eq!(expiry(&issued(GENERALIZED_TIME, "20500101000000Z")), Some(2_524_608_000));
        assert_eq!(expiry(&issued(GENERALIZED_TIME, "500101000000Z")), None);
    }

    #[test]
    fn the_names_are_read_past_other_extensions() {
        assert_eq!(dns_names(&certificate(&[], &["Example.org", "*.example.org"])), ["example.org", "*.example.org"]);
        assert_eq!(dns_names(&certificate(&[], &[])), Vec::<String>::new());
    }

    #[test]
    fn what_is_cut_off_or_changed_is_never_read_past_its_end() {
        let whole = certificate(&[attribute(ATTRIBUTES[0].0, 0x0c, b"name")], &["example.org"]);
        for end in 0..whole.len() {
            assert_eq!(subject(&whole[..end]), None);
            assert!(dns_names(&whole[..end]).is_empty());
        }
        for index in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.clone();
                changed[index] = byte;
                let _ = (subject(&changed), dns_names(&changed), expiry(&changed));
            }
        }
    }
}
