//! The operator's format, read once into a list of parts. Writes nothing.
//!
//! Three ways to write an atom may stand side by side: `%(h)s` as gunicorn and hypercorn have it, `%(addr)s` as granian
//! has it, `%h` and `%{Referer}i` as Apache has it. A letter can mean different things in the first and the last.

use std::fmt;

use super::Needs;
use super::text::escape;
use super::time::Style;

const COMMON: &str = r#"%h %l %u %t "%r" %>s %b"#;
const COMBINED: &str = r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#;

/// What a line of the access log is made of.
#[derive(Clone, Debug, Default)]
pub struct AccessFormat {
    pub(super) layout: Layout,
    pub(crate) needs: Needs,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Layout {
    /// As uvicorn has it, with a level in front and perhaps with colours.
    #[default]
    Standard,
    /// One object a line; with the name of the header field that has the request's id, and whether there is a traceparent.
    Json {
        request_id: Option<Box<[u8]>>,
        traceparent: bool,
    },
    Parts(Vec<Part>),
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    /// The operator's own text.
    Text(Vec<u8>),
    Value(Atom),
    /// With a width: of that many columns at the least, filled up on the right or on the left side.
    Column {
        atom: Atom,
        width: usize,
        left: bool,
    },
}

/// One value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// What this server does not have.
    Nothing,
    Host,
    User,
    Time(Style),
    RequestLine,
    Method,
    Path,
    Query,
    /// With its question mark, where there is one.
    QueryPart,
    Target,
    Protocol,
    Scheme,
    Status,
    Phrase,
    Bytes,
    /// `-` for none.
    BytesOrNothing,
    Duration(Unit),
    ServerPort,
    RequestHeader(Box<[u8]>),
    ResponseHeader(Box<[u8]>),
}

/// How a duration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    Micros,
    /// Seconds with six decimals.
    Decimal,
    /// Milliseconds with so many decimals.
    FloatMillis(u8),
}

/// What the operator's format asks for and there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    atom: String,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Unknown,
    Conversion,
    Unfinished,
}

const IN_PARENTHESES: &str = "h l u t r R m U Uq q H S s st B b f a T M D L p {name}i {name}o {name}e, and addr time \
                              dt_ms status path query_string method scheme protocol header{name} request_id";
const OF_APACHE: &str = "%h %a %l %u %t %r %m %U %q %H %s %>s %b %B %D %T %p %P %L %{name}i %{name}o %{name}e %%";

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let atom = &self.atom;
        match self.why {
            Why::Unknown if atom.starts_with("%(") => {
                write!(f, "must not ask for '{atom}', which there is not; in parentheses there are {IN_PARENTHESES}")
            }
            Why::Unknown => write!(f, "must not ask for '{atom}', which there is not; there are {OF_APACHE}"),
            Why::Conversion => {
                write!(f, "must not convert '{atom}' like that: s is for all, d for whole numbers, .3f for dt_ms")
            }
            Why::Unfinished => write!(f, "must not end within '{atom}'; a percent sign of its own is %%"),
        }
    }
}

impl std::error::Error for FormatError {}

impl AccessFormat {
    /// Reads a format: `""` for the standard one, `common`, `combined`, `json`, or a text with atoms. `request_id` is the
    /// name of the header field that has the request's id, where there is one; `traceparent`, whether there is that.
    ///
    /// # Errors
    /// Where the text asks for what there is not.
    pub fn parse(text: &str, request_id: &str, traceparent: bool) -> Result<Self, FormatError> {
        let request_id = (!request_id.is_empty()).then(|| lowercase(request_id));
        let layout = match text {
            "" => return Ok(Self::default()),
            "json" => {
                let needs = Needs { wall: true, duration: true, request_headers: true, response_headers: false };
                return Ok(Self { layout: Layout::Json { request_id, traceparent }, needs });
            }
            "common" => parts(COMMON, request_id)?,
            "combined" => parts(COMBINED, request_id)?,
            _ => parts(text, request_id)?,
        };
        let needs = needs(&layout);
        Ok(Self { layout: Layout::Parts(layout), needs })
    }

    /// Whether it is the standard one, which has a record's fields and a level.
    pub fn is_standard(&self) -> bool {
        matches!(self.layout, Layout::Standard)
    }
}

fn needs(parts: &[Part]) -> Needs {
    let mut needs = Needs::default();
    for part in parts {
        match part {
            Part::Value(atom) | Part::Column { atom, .. } => match atom {
                Atom::Time(_) => needs.wall = true,
                Atom::Duration(_) => needs.duration = true,
                Atom::User | Atom::RequestHeader(_) => needs.request_headers = true,
                Atom::ResponseHeader(_) => needs.response_headers = true,
                _ => {}
            },
            Part::Text(_) => {}
        }
    }
    needs
}

fn lowercase(name: &str) -> Box<[u8]> {
    name.trim().to_ascii_lowercase().into_bytes().into()
}

fn parts(text: &str, request_id: Option<Box<[u8]>>) -> Result<Vec<Part>, FormatError> {
    let mut parser = Parser { rest: text, request_id, parts: Vec::new() };
    while let Some(at) = parser.rest.find('%') {
        parser.text(&parser.rest.as_bytes()[..at]);
        parser.rest = &parser.rest[at..];
        parser.atom()?;
    }
    parser.text(parser.rest.as_bytes());
    Ok(parser.parts)
}

struct Parser<'a> {
    rest: &'a str,
    request_id: Option<Box<[u8]>>,
    parts: Vec<Part>,
}

/// What a name in the format stands for.
enum Found {
    Atom(Atom),
    /// What is the same for all lines.
    Text(String),
}

impl Parser<'_> {
    fn text(&mut self, text: &[u8]) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(before)) => before.extend_from_slice(text),
            _ => self.parts.push(Part::Text(text.to_vec())),
        }
    }

    /// Reads the atom that `rest` begins with.
    fn atom(&mut self) -> Result<(), FormatError> {
        let behind = &self.rest[1..];
        if let Some(rest) = behind.strip_prefix('%') {
            self.rest = rest;
            self.text(b"%");
            Ok(())
        } else if behind.starts_with('(') {
            self.in_parentheses()
        } else {
            self.of_apache()
        }
    }

    fn in_parentheses(&mut self) -> Result<(), FormatError> {
        let end = self.rest.find(')').ok_or_else(|| self.error(self.rest.len(), Why::Unfinished))?;
        let conversion = Conversion::read(&self.rest[end + 1..]);
        let length = end + 1 + conversion.length;
        let Some(letter) = conversion.letter else { return Err(self.error(length, Why::Unfinished)) };
        let found = self.named(&self.rest[2..end]).ok_or_else(|| self.error(length, Why::Unknown))?;
        let found = convert(found, letter, conversion.precision);
        let found = found.ok_or_else(|| self.error(length, Why::Conversion))?;
        self.rest = &self.rest[length..];
        self.push(found, conversion.width, conversion.left);
        Ok(())
    }

    fn of_apache(&mut self) -> Result<(), FormatError> {
        let behind = self.rest[1..].trim_start_matches(['<', '>']);
        let (braced, behind) = match behind.strip_prefix('{') {
            Some(inside) => {
                let end = inside.find('}').ok_or_else(|| self.error(self.rest.len(), Why::Unfinished))?;
                (Some(&inside[..end]), &inside[end + 1..])
            }
            None => (None, behind),
        };
        let letter = behind.chars().next().ok_or_else(|| self.error(self.rest.len(), Why::Unfinished))?;
        let length = self.rest.len() - behind.len() + letter.len_utf8();
        let found = match braced {
            Some(name) => braced_atom(name, letter).or_else(|| duration(name, letter)),
            None => self.apache_letter(letter),
        };
        let found = found.ok_or_else(|| self.error(length, Why::Unknown))?;
        self.rest = &self.rest[length..];
        self.push(found, 0, false);
        Ok(())
    }

    fn push(&mut self, found: Found, width: usize, left: bool) {
        match found {
            Found::Text(text) => {
                let mut escaped = Vec::new();
                escape(&mut escaped, text.as_bytes());
                self.text(&escaped);
            }
            Found::Atom(atom) if width > 0 => self.parts.push(Part::Column { atom, width, left }),
            Found::Atom(atom) => self.parts.push(Part::Value(atom)),
        }
    }

    fn error(&self, length: usize, why: Why) -> FormatError {
        FormatError { atom: self.rest[..length].to_owned(), why }
    }

    /// What a name means for gunicorn, hypercorn or granian.
    fn named(&self, name: &str) -> Option<Found> {
        if let Some((ahead, braced)) = name.split_once('{') {
            let (name, behind) = braced.split_once('}')?;
            return match (ahead, behind) {
                ("header", "") => braced_atom(name, 'i'),
                ("", _) => braced_atom(name, behind.chars().next().filter(|c| c.len_utf8() == behind.len())?),
                _ => None,
            };
        }
        Some(Found::Atom(match name {
            "h" | "addr" => Atom::Host,
            "l" => Atom::Nothing,
            "u" => Atom::User,
            "t" => Atom::Time(Style::Common),
            "time" => Atom::Time(Style::Spaced),
            "r" | "R" => Atom::RequestLine,
            "m" | "method" => Atom::Method,
            "U" | "path" => Atom::Path,
            "Uq" => Atom::Target,
            "q" | "query_string" => Atom::Query,
            "H" | "protocol" => Atom::Protocol,
            "S" | "scheme" => Atom::Scheme,
            "s" | "status" => Atom::Status,
            "st" => Atom::Phrase,
            "B" => Atom::Bytes,
            "b" => Atom::BytesOrNothing,
            "f" => Atom::RequestHeader(b"referer"[..].into()),
            "a" => Atom::RequestHeader(b"user-agent"[..].into()),
            "T" => Atom::Duration(Unit::Seconds),
            "M" => Atom::Duration(Unit::Millis),
            "D" => Atom::Duration(Unit::Micros),
            "L" => Atom::Duration(Unit::Decimal),
            "dt_ms" => Atom::Duration(Unit::FloatMillis(3)),
            "request_id" => self.request_id(),
            "p" => return Some(Found::Text(format!("<{}>", std::process::id()))),
            _ => return None,
        }))
    }

    fn apache_letter(&self, letter: char) -> Option<Found> {
        Some(Found::Atom(match letter {
            'h' | 'a' => Atom::Host,
            'l' => Atom::Nothing,
            'u' => Atom::User,
            't' => Atom::Time(Style::Common),
            'r' => Atom::RequestLine,
            'm' => Atom::Method,
            'U' => Atom::Path,
            'q' => Atom::QueryPart,
            'H' => Atom::Protocol,
            's' => Atom::Status,
            'b' => Atom::BytesOrNothing,
            'B' => Atom::Bytes,
            'D' => Atom::Duration(Unit::Micros),
            'T' => Atom::Duration(Unit::Seconds),
            'p' => Atom::ServerPort,
            'L' => self.request_id(),
            'P' => return Some(Found::Text(std::process::id().to_string())),
            _ => return None,
        }))
    }

    fn request_id(&self) -> Atom {
        self.request_id.clone().map_or(Atom::Nothing, Atom::RequestHeader)
    }
}

fn braced_atom(name: &str, letter: char) -> Option<Found> {
    match letter {
        'i' => Some(Found::Atom(Atom::RequestHeader(lowercase(name)))),
        'o' => Some(Found::Atom(Atom::ResponseHeader(lowercase(name)))),
        // The environment stays as it is at the start.
        'e' => Some(Found::Text(std::env::var(name).unwrap_or_else(|_| "-".to_owned()))),
        _ => None,
    }
}

fn duration(unit: &str, letter: char) -> Option<Found> {
    let unit = match (unit, letter) {
        ("s", 'T') => Unit::Seconds,
        ("ms", 'T') => Unit::Millis,
        ("us", 'T') => Unit::Micros,
        _ => return None,
    };
    Some(Found::Atom(Atom::Duration(unit)))
}

/// What stands behind `%(name)`: `s`, `5d`, `-8s`, `.3f`.
struct Conversion {
    length: usize,
    left: bool,
    width: usize,
    precision: Option<u8>,
    letter: Option<char>,
}

/// No column is wider.
const WIDEST: usize = 1000;

impl Conversion {
    fn read(text: &str) -> Self {
        let behind = text.strip_prefix('-').unwrap_or(text);
        let (width, behind) = digits(behind);
        let (precision, behind) = match behind.strip_prefix('.') {
            Some(behind) => {
                let (digits, behind) = digits(behind);
                (Some(digits.min(9) as u8), behind)
            }
            None => (None, behind),
        };
        let letter = behind.chars().next();
        let length = text.len() - behind.len() + letter.map_or(0, char::len_utf8);
        Self { length, left: text.starts_with('-'), width: width.min(WIDEST), precision, letter }
    }
}

fn digits(text: &str) -> (usize, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().unwrap_or_default(), &text[end..])
}

/// None where the value cannot be written so.
fn convert(found: Found, letter: char, precision: Option<u8>) -> Option<Found> {
    let is_whole = match &found {
        Found::Atom(Atom::Duration(Unit::FloatMillis(_))) => {
            return match letter {
                's' if precision.is_none() => Some(found),
                // Python's default.
                'f' => Some(Found::Atom(Atom::Duration(Unit::FloatMillis(precision.unwrap_or(6))))),
                'd' if precision.is_none() => Some(Found::Atom(Atom::Duration(Unit::Millis))),
                _ => None,
            };
        }
        Found::Atom(Atom::Status | Atom::Bytes) => true,
        Found::Atom(Atom::Duration(unit)) => *unit != Unit::Decimal,
        _ => false,
    };
    let fits = precision.is_none() && (letter == 's' || letter == 'd' && is_whole);
    fits.then_some(found)
}
