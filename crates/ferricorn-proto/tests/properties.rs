//! Laws that hold for all bytes and all applications, over generated ones.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use asgi::{Headers, ResponseStart};
use ferricorn_proto::{Drain, Input, Limits};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::{Action, Driver, Seen};

/// A request as it was meant.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    target: String,
    version: &'static str,
    fields: Vec<(String, String)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunked { chunks: Vec<Vec<u8>>, extension: &'static str, trailers: &'static str },
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} {}\r\nHost: example.org\r\n", self.method, self.target, self.version).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        match &self.body {
            Body::None => bytes.extend_from_slice(b"\r\n"),
            Body::Length(body) => {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                bytes.extend_from_slice(body);
            }
            Body::Chunked { chunks, extension, trailers } => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                    bytes.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(format!("0{extension}\r\n{trailers}\r\n").as_bytes());
            }
        }
        bytes
    }

    /// What an application sees that receives all.
    fn expected(&self) -> Vec<Seen> {
        let fields = [("host".to_owned(), "example.org".to_owned())].into_iter().chain(self.fields.iter().cloned());
        let mut headers = Headers::from_iter(fields).unwrap();
        let body = match &self.body {
            Body::None => Vec::new(),
            Body::Length(body) => {
                headers.push(b"content-length", body.len().to_string().as_bytes()).unwrap();
                body.clone()
            }
            Body::Chunked { chunks, .. } => {
                headers.push(b"transfer-encoding", b"chunked").unwrap();
                chunks.concat()
            }
        };
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut line = format!("{} {path}", self.method.to_ascii_uppercase());
        if !query.is_empty() {
            line += &format!(" ?{query}");
        }
        line += &format!(" {}", &self.version[5..]);
        let has_body =
            !matches!(&self.body, Body::None) && !matches!(&self.body, Body::Length(body) if body.is_empty());
        if has_body {
            line += " +body";
        }
        let mut seen = vec![Seen::Request { line, headers }];
        if !body.is_empty() {
            seen.push(Seen::Body(body));
        }
        seen.push(Seen::EndOfBody);
        seen
    }
}

fn request() -> impl Strategy<Value = Request> {
    let method = select(&["GET", "POST", "HEAD", "put", "M-SEARCH", "options"][..]);
    let version = prop_oneof![8 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0")];
    let field = ("[A-Za-z][A-Za-z0-9-]{0,12}", "([!-~]([ -~\t]{0,20}[!-~])?)?").prop_filter(
        "what matters to framing",
        |(name, _)| {
            let names = ["te", "host", "expect", "upgrade", "connection", "content-length", "transfer-encoding"];
            !names.contains(&name.to_ascii_lowercase().as_str())
        },
    );
    let fields = prop_oneof![
        3 => Just(vec![("Accept".to_owned(), "*/*".to_owned()), ("User-Agent".to_owned(), "a/1.0 (b)".to_owned())]),
        2 => prop::collection::vec(field, 0..6),
    ];
    let target = "/[a-z0-9/%._~-]{0,20}(\\?[a-z=&]{0,10})?";
    (method, target, version, fields, body()).prop_map(|(method, target, version, fields, body)| {
        let body = match body {
            Body::Chunked { .. } if version == "HTTP/1.0" => Body::None,
            body => body,
        };
        Request { method, target, version, fields, body }
    })
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let chunks = prop::collection::vec(bytes(), 0..5);
    let extension = select(&["", ";a", " ;a=\"b\"", ";a=b;c"][..]);
    let trailers = select(&["", "A: b\r\n", "A:\r\nB: c\r\n"][..]);
    prop_oneof![
        2 => Just(Body::None),
        1 => bytes().prop_map(Body::Length),
        1 => (chunks, extension, trailers)
            .prop_map(|(chunks, extension, trailers)| Body::Chunked { chunks, extension, trailers }),
    ]
}

/// A change to bytes, of the kind that attackers and broken clients make.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Truncate(Index),
    Repeat(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let special = select(&b"\r\n\t \0:,;0159aAfFxX/*?#%[]@\x7f\x80\xff"[..]);
    let byte = prop_oneof![3 => special, 1 => any::<u8>()];
    let line = select(
        &[
            "Host: b\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Connection: close\r\n",
            "Connection: keep-alive, upgrade\r\n",
            "Upgrade: websocket\r\n",
            "Expect: 100-continue\r\n",
            "Expect: x\r\n",
            "TE: trailers\r\n",
            " folded\r\n",
            "\r\n",
            "GET http://a:80/b HTTP/1.1\r\n",
        ][..],
    );
    prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<Index>(), prop::collection::vec(byte, 1..4)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<Index>(), line).prop_map(|(at, line)| Mutation::Insert(at, line.as_bytes().to_vec())),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Truncate),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Replace(at, byte) => *at.get_mut(bytes) = *byte,
            Self::Insert(at, inserted) => {
                // Lines go in where a line starts, which is where they do harm.
                let near = at.index(bytes.len());
                let start = bytes[..near].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
                let at = if inserted.ends_with(b"\n") { start } else { near };
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Self::Repeat(from, to) => {
                let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.extend(piece);
            }
        }
    }
}

fn start(status: u16, fields: &[(&str, &str)]) -> Action {
    let headers = Headers::from_iter(fields.iter().copied()).unwrap();
    Action::Start(ResponseStart { status, headers, trailers: true })
}

fn part(bytes: &[u8], more: bool) -> Action {
    Action::Body { bytes: bytes.to_vec(), more }
}

/// Applications whose doings do not depend on how the input was cut.
fn script() -> impl Strategy<Value = Vec<Action>> {
    let answer = vec![start(200, &[("content-type", "text/plain")]), part(b"hello", false)];
    let streamed = vec![start(200, &[]), part(b"one", true), part(b"two", true), part(b"", false)];
    let receiving = |script: &[Action]| [&[Action::ReceiveAll], script].concat();
    let late = vec![start(200, &[]), Action::ReceiveAll, part(b"late", false)];
    let later = vec![start(200, &[]), part(b"early", true), Action::ReceiveAll, part(b"late", false)];
    select(vec![
        receiving(&answer),
        receiving(&streamed),
        receiving(&[Action::Raise]),
        answer,
        streamed,
        late,
        later,
        vec![start(204, &[("connection", "close")]), part(b"", false)],
        vec![Action::Raise],
        vec![],
        vec![Action::ReceiveAll, Action::Hang],
        vec![Action::Refuse(503)],
        vec![Action::Drain(Drain::Quick), start(200, &[("content-length", "2")]), part(b"ok", false)],
    ])
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn run(limits: &Limits, script: &[Action], pieces: &[&[u8]], end: bool) -> Driver {
    let mut driver = Driver::new(limits.clone(), &[script.to_vec()]);
    pieces.iter().for_each(|piece| driver.feed(piece));
    if end {
        driver.end();
    }
    driver
}

fn small_limits() -> impl Strategy<Value = Limits> {
    let head = prop_oneof![4 => Just(65_536_usize), 1 => 40_usize..200];
    let body = prop_oneof![3 => Just(None), 1 => (0_u64..60).prop_map(Some)];
    (head, body).prop_map(|(head, body)| Limits { head, body, ..Limits::default() })
}

/// Cases that failed are kept as cases in text, not as seeds; PROPTEST_CASES asks for more than the usual.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(2_000), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever the bytes, however they are cut: the same events, the same bytes out, the same end.
    #[test]
    fn any_split_gives_the_same_events_and_output(
        requests in prop::collection::vec(request(), 1..4),
        mutations in prop::collection::vec(mutation(), 0..4),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
        (limits, script, end) in (small_limits(), script(), any::<bool>()),
    ) {
        let mut bytes: Vec<u8> = requests.iter().flat_map(Request::bytes).collect();
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        let whole = run(&limits, &script, &[&bytes], end);
        for pieces in [pieces(&bytes, &cuts), bytes.chunks(1).collect()] {
            let cut = run(&limits, &script, &pieces, end);
            prop_assert_eq!(&whole.seen, &cut.seen);
            prop_assert_eq!(whole.output.escape_ascii().to_string(), cut.output.escape_ascii().to_string());
            prop_assert_eq!(whole.closing(), cut.closing());
            // Once input is of no interest, it is dropped as it comes.
            if !whole.connection.exchange_is_open() {
                prop_assert_eq!(&whole.inbox, &cut.inbox);
            }
        }
    }

    /// What was meant is what an application sees, for as many requests as the connection takes.
    #[test]
    fn valid_requests_arrive_as_they_were_meant(requests in prop::collection::vec(request(), 1..4)) {
        let script = [Action::ReceiveAll, start(200, &[]), part(b"ok", false)];
        let bytes: Vec<u8> = requests.iter().flat_map(Request::bytes).collect();
        let driver = run(&Limits::default(), &script, &[&bytes], false);
        let kept = requests.iter().take_while(|request| request.version == "HTTP/1.1").count();
        let answered = (kept + 1).min(requests.len());
        let expected: Vec<Seen> = requests[..answered].iter().flat_map(Request::expected).collect();
        let mut seen = driver.seen;
        seen.retain(|seen| !matches!(seen, Seen::Finished(_)));
        for seen in &mut seen {
            if let Seen::Request { line, .. } = seen {
                *line = line.replace(" +repeated", "");
            }
        }
        prop_assert_eq!(seen, expected);
    }

    /// Every head that is taken is one that httparse takes too, with the same parts.
    #[test]
    fn what_is_taken_httparse_takes(
        request in request(),
        mutations in prop::collection::vec(mutation(), 0..3),
    ) {
        let mut bytes = request.bytes();
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        let mut driver = Driver::new(Limits::default(), &[]);
        let now = driver.now();
        let mut handed = bytes.clone();
        let step = driver.connection.handle_input(&mut handed, &now);
        let Ok(Some(Input::Request(head))) = step.event else { return Ok(()) };
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut parsed = httparse::Request::new(&mut fields);
        let status = parsed.parse(&bytes);
        if status == Err(httparse::Error::Version) {
            // Later minor versions.
            return Ok(());
        }
        if str::from_utf8(head.path).and(str::from_utf8(head.query)).is_err() {
            // Raw bytes that are no UTF-8: every server above httparse takes them, so does this one (SCP-21).
            prop_assert_eq!(status, Err(httparse::Error::Token));
            return Ok(());
        }
        prop_assert_eq!(status, Ok(httparse::Status::Complete(step.consumed)));
        prop_assert_eq!(parsed.method.unwrap().to_ascii_uppercase(), head.method);
        let target = parsed.path.unwrap().as_bytes();
        prop_assert!(target.ends_with(head.query));
        if target.starts_with(b"/") {
            let taken = [head.path, head.query].join(&b"?"[..]);
            prop_assert!(target == taken || target == head.path, "{:?}", target);
            let theirs: Vec<_> = parsed.headers.iter().map(|h| (h.name.to_ascii_lowercase().into_bytes(), h.value)).collect();
            let ours: Vec<_> = head.headers.iter().map(|(name, value)| (name.to_vec(), value)).collect();
            prop_assert_eq!(theirs, ours);
        }
    }
}
