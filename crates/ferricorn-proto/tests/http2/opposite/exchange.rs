//! Requests and responses as they are sent, and what is to be seen of them on the other side.

use asgi::Headers;
use ferricorn_proto::Finished;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

/// Names and values, in order.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A request, its response, and how both are taken.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: &'static str,
    pub fields: Fields,
    /// The parts of the request's body; none and no trailers: the head ends the request.
    pub body: Vec<Vec<u8>>,
    pub trailers: Fields,
    pub answer: Answer,
    /// Whether a body is taken only when nothing else moves, by the application and by the client.
    pub lazy: (bool, bool),
    /// So many bytes the client gives back at once, of what it has received.
    pub pieces: usize,
}

/// What the application sends.
#[derive(Clone, Debug)]
pub struct Answer {
    /// A 103 each, with these values of `link`.
    pub hints: Vec<Vec<&'static str>>,
    pub status: u16,
    pub fields: Fields,
    pub parts: Vec<Vec<u8>>,
    /// The parts are parts of files (EXT-08, EXT-09).
    pub files: bool,
    /// None: none are announced.
    pub trailers: Option<Fields>,
    /// The request's body is not asked for.
    pub early: bool,
    /// The call fails behind the last part.
    pub fails: bool,
    /// The next part does not wait for the last to be framed.
    pub eager: bool,
}

/// What the application has seen of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    /// The body's end came.
    pub whole: bool,
    /// The client went away.
    pub gone: bool,
    pub finished: Option<Finished>,
}

/// What the client has seen of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub interim: Vec<(u16, Fields)>,
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Option<Fields>,
    pub failure: Option<Failure>,
    /// Nothing more will come.
    pub over: bool,
}

/// How an exchange failed for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// RST_STREAM of the server's, with its code.
    Reset(h2::Reason),
    /// GOAWAY of the server's.
    GoAway(h2::Reason),
    /// Anything else: the crate found fault with the server, or the connection is gone.
    Other(String),
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_remote() && error.is_reset() => Self::Reset(reason),
            Some(reason) if error.is_remote() && error.is_go_away() => Self::GoAway(reason),
            _ => Self::Other(format!("{error:?}")),
        }
    }
}

impl Exchange {
    /// A GET that is answered with one part.
    pub fn get(body: &[u8]) -> Self {
        Self {
            method: "GET",
            fields: Fields::new(),
            body: Vec::new(),
            trailers: Fields::new(),
            answer: Answer {
                hints: Vec::new(),
                status: 200,
                fields: Fields::new(),
                parts: vec![body.to_vec()],
                files: false,
                trailers: None,
                early: false,
                fails: false,
                eager: false,
            },
            lazy: (false, false),
            pieces: usize::MAX,
        }
    }

    /// A POST of these parts, whose response has the same ones.
    pub fn echo(parts: &[Vec<u8>]) -> Self {
        let mut exchange = Self::get(b"");
        exchange.method = "POST";
        exchange.body = parts.to_vec();
        exchange.answer.parts = parts.to_vec();
        exchange
    }

    /// Of the crate, by the number of the exchange.
    pub fn request(&self, number: usize) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.parse().unwrap();
        *request.uri_mut() = format!("http://a.example/{number}").parse().unwrap();
        *request.headers_mut() = map_of(&self.fields);
        request
    }

    /// What the application is to see of it.
    pub fn asked(&self, number: usize) -> Asked {
        let host = ("host".to_owned(), b"a.example".to_vec());
        let is_read = !self.answer.early || self.ends_with_head();
        Asked {
            method: self.method.to_owned(),
            path: format!("/{number}"),
            fields: std::iter::once(host).chain(grouped(&self.fields)).collect(),
            body: if is_read { self.body.concat() } else { Vec::new() },
            whole: is_read,
            gone: false,
            finished: Some(match self.answer.fails {
                false => Finished::Complete,
                true if self.answer.parts.is_empty() => Finished::Failed500,
                true => Finished::Truncated,
            }),
        }
    }

    /// What the client is to see of it.
    pub fn answered(&self) -> Answered {
        let answer = &self.answer;
        if answer.fails && answer.parts.is_empty() {
            let mut exchange = Self::get(b"Internal Server Error");
            exchange.answer.hints.clone_from(&answer.hints);
            exchange.answer.status = 500;
            exchange.answer.fields = fields(&[("content-type", "text/plain; charset=utf-8")]);
            return exchange.answered();
        }
        let has_content = self.method != "HEAD" && !matches!(answer.status, 204 | 304);
        let can_trail = self.fields.iter().any(|(name, value)| name == "te" && value == b"trailers");
        let is_trailed = can_trail && has_content && !answer.fails && !self.promises();
        let trailers = answer.trailers.as_ref().filter(|_| is_trailed);
        let body = answer.parts.concat();
        let mut fields = answer.fields.clone();
        let is_known = answer.parts.len() <= 1 && !answer.fails && !self.promises() && trailers.is_none();
        let is_told = has_content || self.method == "HEAD" && !body.is_empty() && !matches!(answer.status, 204 | 304);
        if is_known && is_told {
            fields.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
        }
        let link = |value: &&str| ("link".to_owned(), value.as_bytes().to_vec());
        Answered {
            interim: answer.hints.iter().map(|links| (103, links.iter().map(link).collect())).collect(),
            status: answer.status,
            fields: grouped(&fields),
            body: if has_content { body } else { Vec::new() },
            trailers: trailers.filter(|trailers| !trailers.is_empty()).map(grouped),
            failure: answer.fails.then_some(Failure::Reset(h2::Reason::INTERNAL_ERROR)),
            over: true,
        }
    }

    fn promises(&self) -> bool {
        self.answer.fields.iter().any(|(name, _)| name == "content-length")
    }

    /// Whether the head of the request ends it.
    pub fn ends_with_head(&self) -> bool {
        self.body.is_empty() && self.trailers.is_empty()
    }
}

pub fn fields(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

/// The crate's map has those of the same name side by side, where the first of them stood.
pub fn grouped(fields: &Fields) -> Fields {
    fields_of(&map_of(fields))
}

pub fn fields_of(map: &HeaderMap) -> Fields {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

pub fn map_of(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let mut kept = HeaderValue::from_bytes(value).unwrap();
        // Never indexed on the wire (RFC 7541 section 6.2.3).
        kept.set_sensitive(name.starts_with("secret"));
        map.append(name.parse::<HeaderName>().unwrap(), kept);
    }
    map
}

pub fn headers_of(fields: &Fields) -> Headers {
    Headers::from_iter(fields.iter().map(|(name, value)| (name.as_bytes(), &value[..]))).unwrap()
}

/// Bytes that do not repeat soon.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index ^ index >> 8 ^ index >> 13) as u8).collect()
}
