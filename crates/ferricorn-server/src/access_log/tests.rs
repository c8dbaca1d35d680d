//! Lines of every format, and that no value of a peer's forges one.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

/// A response, as the worker would have it.
fn access() -> Access {
    let mut line = RequestLine::default();
    line.set("GET", b"/a/b", b"c=d");
    let mut access = Access {
        client: Some(Address::Ip("127.0.0.1:5000".parse().unwrap())),
        server_port: 8000,
        scheme: Some(Scheme::Http),
        line,
        http_version: Some(HttpVersion::Http11),
        headers: Some(Rc::new(
            Headers::from_iter([
                ("host", "x"),
                ("referer", "http://r/"),
                ("user-agent", "curl \"8\""),
                ("authorization", "Basic Ym9iOng="),
                ("x-request-id", "abc"),
            ])
            .unwrap(),
        )),
        response_headers: Headers::from_iter([("content-type", "text/plain")]).unwrap(),
        wall: Some(UNIX_EPOCH + Duration::from_millis(971_211_336_123)),
        duration: Duration::from_nanos(1_234_567_890),
        ..Access::default()
    };
    access.end(200, 13);
    access.duration = Duration::from_nanos(1_234_567_890);
    access
}

fn line_of(access: &Access, format: &str) -> String {
    let format = AccessFormat::parse(format, "X-Request-ID", true).unwrap();
    let mut out = Vec::new();
    AccessLog::new(format, |_| -7 * 3600).write(access, false, &mut out);
    let line = String::from_utf8(out).unwrap();
    line.strip_suffix('\n').expect("a line has an end").to_owned()
}

#[test]
fn the_standard_line_is_that_of_uvicorn() {
    let mut access = access();
    assert_eq!(line_of(&access, ""), r#"INFO:     127.0.0.1:5000 - "GET /a/b?c=d HTTP/1.1" 200 OK"#);
    access.client = None;
    access.status = 299;
    assert_eq!(line_of(&access, ""), r#"INFO:     unix - "GET /a/b?c=d HTTP/1.1" 299"#);
}

#[test]
fn the_standard_line_in_colours() {
    let mut access = access();
    for (status, end) in [(200, "\x1b[32m200 OK\x1b[0m"), (404, "\x1b[31m404 Not Found\x1b[0m"), (999, "999")] {
        access.status = status;
        let mut out = Vec::new();
        AccessLog::new(AccessFormat::default(), |_| 0).write(&access, true, &mut out);
        let start = "\x1b[32mINFO\x1b[0m:     127.0.0.1:5000 - \"\x1b[1mGET /a/b?c=d HTTP/1.1\x1b[0m\" ";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{start}{end}\n"));
    }
}

#[test]
fn named_formats() {
    let common = r#"127.0.0.1 - bob [10/Oct/2000:13:55:36 -0700] "GET /a/b?c=d HTTP/1.1" 200 13"#;
    assert_eq!(line_of(&access(), "common"), common);
    let combined = format!(r#"{common} "http://r/" "curl \"8\"""#);
    assert_eq!(line_of(&access(), "combined"), combined);
    let json = concat!(
        r#"{"time":"2000-10-10T13:55:36.123-07:00","client":"127.0.0.1","method":"GET","path":"/a/b","query":"c=d","#,
        r#""protocol":"HTTP/1.1","status":200,"bytes":13,"duration_ms":1234.568,"referer":"http://r/","#,
        r#""user_agent":"curl \"8\"","request_id":"abc","traceparent":null}"#,
    );
    assert_eq!(line_of(&access(), "json"), json);
}

#[test]
fn every_atom() {
    let pid = std::process::id();
    let path = std::env::var("PATH").unwrap();
    let cases = [
        ("%(h)s %(l)s %(u)s", "127.0.0.1 - bob"),
        ("%(t)s", "[10/Oct/2000:13:55:36 -0700]"),
        ("%(r)s|%(R)s", "GET /a/b?c=d HTTP/1.1|GET /a/b?c=d HTTP/1.1"),
        ("%(m)s %(U)s %(Uq)s %(q)s %(H)s %(S)s", "GET /a/b /a/b?c=d c=d HTTP/1.1 http"),
        ("%(s)s %(st)s %(B)s %(b)s", "200 OK 13 13"),
        ("%(f)s %(a)s", "http://r/ curl \\\"8\\\""),
        ("%(T)s %(M)s %(D)s %(L)s", "1 1234 1234567 1.234567"),
        ("%(p)s", &format!("<{pid}>")),
        ("%({Host}i)s %({None}i)s %({content-type}o)s %({None}o)s", "x - text/plain -"),
        ("%({PATH}e)s %({FERRICORN_NOT_SET}e)s", &format!("{path} -")),
        ("%(addr)s %(time)s", "127.0.0.1 2000-10-10 13:55:36 -0700"),
        ("%(method)s %(path)s %(query_string)s %(scheme)s %(protocol)s", "GET /a/b c=d http HTTP/1.1"),
        ("%(status)d %(dt_ms).3f %(dt_ms).0f %(dt_ms)f", "200 1234.568 1235 1234.567890"),
        ("%(header{Host})s %(request_id)s", "x abc"),
        ("%h %a %l %u %t", "127.0.0.1 127.0.0.1 - bob [10/Oct/2000:13:55:36 -0700]"),
        ("%r|%m %U %q %H", "GET /a/b?c=d HTTP/1.1|GET /a/b ?c=d HTTP/1.1"),
        ("%s %>s %<s %b %B", "200 200 200 13 13"),
        ("%D %T %{ms}T %{us}T %{s}T", "1234567 1 1234 1234567 1"),
        ("%p %P %L", &format!("8000 {pid} abc")),
        ("%{Host}i %{content-type}o %{FERRICORN_NOT_SET}e", "x text/plain -"),
        ("100%% of %(s)s, %s%%", "100% of 200, 200%"),
        ("[%(s)5d|%(s)-5d|%(h)-12s|%(h)3s]", "[  200|200  |127.0.0.1   |127.0.0.1]"),
        ("no atom: \u{e9}", "no atom: \u{e9}"),
    ];
    for (format, line) in cases {
        assert_eq!(line_of(&access(), format), line, "{format}");
    }
}

#[test]
fn the_default_formats_of_other_servers() {
    let combined =
        r#"127.0.0.1 - bob [10/Oct/2000:13:55:36 -0700] "GET /a/b?c=d HTTP/1.1" 200 13 "http://r/" "curl \"8\"""#;
    let gunicorn = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;
    assert_eq!(line_of(&access(), gunicorn), combined);
    let hypercorn = r#"%(h)s %(l)s %(l)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;
    assert_eq!(line_of(&access(), hypercorn), combined.replace("bob", "-"));
    let granian = r#"[%(time)s] %(addr)s - "%(method)s %(path)s %(protocol)s" %(status)d %(dt_ms).3f"#;
    let line = r#"[2000-10-10 13:55:36 -0700] 127.0.0.1 - "GET /a/b HTTP/1.1" 200 1234.568"#;
    assert_eq!(line_of(&access(), granian), line);
}

#[test]
fn what_is_not_there_is_a_dash() {
    let mut access = access();
    (access.client, access.headers, access.wall) = (None, None, None);
    access.line.set("GET", b"/", b"");
    access.body_bytes = 0;
    assert_eq!(line_of(&access, "%h %u %t %{Referer}i %b %B %(request_id)s"), "- - - - - 0 -");
    assert_eq!(line_of(&access, "[%q][%(q)s]"), "[][]");
    assert!(line_of(&access, "json").contains(r#""client":null,"#));
}

#[test]
fn a_format_that_cannot_be_read_is_told_with_what_there_is() {
    let told = |format: &str| AccessFormat::parse(format, "", false).unwrap_err().to_string();
    for (format, atom) in
        [("%(zz)s", "'%(zz)s'"), ("a %({x}z)s b", "'%({x}z)s'"), ("%(x{y})s", "'%(x{y})s'"), ("%({x}ii)s", "ii")]
    {
        let told = told(format);
        assert!(told.contains(atom) && told.contains("dt_ms") && told.contains("{name}i"), "{told}");
    }
    for (format, atom) in [("%z", "'%z'"), ("a %{x}h", "'%{x}h'"), ("%\u{e9}", "'%\u{e9}'"), ("%!200s", "'%!'")] {
        let told = told(format);
        assert!(told.contains(atom) && told.contains("%{name}i") && !told.contains("dt_ms"), "{told}");
    }
    for format in ["%(h)d", "%(h).3s", "%(s).2f", "%(h)x", "%(dt_ms).3d"] {
        assert!(told(format).contains("s is for all"), "{format}: {}", told(format));
    }
    for format in ["%", "%(h", "%(h)", "%{x", "%{x}", "a %>", "%(s)-5"] {
        assert!(told(format).contains("%%"), "{format}: {}", told(format));
    }
}

#[test]
fn only_what_is_asked_for_is_captured() {
    let needs = |format: &str| AccessFormat::parse(format, "", false).unwrap().needs;
    assert_eq!(needs(""), Needs::default());
    assert_eq!(needs("%h %r %s %b %(method)s"), Needs::default());
    assert_eq!(needs("%t"), Needs { wall: true, ..Needs::default() });
    assert_eq!(needs("%(D)10s"), Needs { duration: true, ..Needs::default() });
    assert_eq!(needs("%u"), Needs { request_headers: true, ..Needs::default() });
    assert_eq!(needs("%{x}o"), Needs { response_headers: true, ..Needs::default() });
}

#[test]
fn what_was_large_is_not_kept() {
    let mut access = access();
    access.release();
    assert_eq!((access.method(), access.headers.is_some()), ("GET", false));
    access.line.set("GET", &[b'/'; 60_000], b"");
    access.release();
    assert_eq!(access.line.len(), 0);
}

/// A request whose every value the peer has chosen.
fn hostile(target: &[u8], query: &[u8], value: &[u8]) -> Access {
    let mut access = access();
    access.line.set("GET", target, query);
    let mut headers = Headers::new();
    for name in [&b"referer"[..], b"user-agent", b"x-request-id"] {
        headers.push(name, value).unwrap();
    }
    access.headers = Some(Rc::new(headers));
    access
}

/// The values in quotes of a line, as a reader takes them apart: a backslash takes away the meaning of what follows.
fn quoted(line: &str) -> Vec<String> {
    let (mut values, mut value, mut inside, mut escaped) = (Vec::new(), String::new(), false, false);
    for character in line.chars() {
        match character {
            '"' if !escaped => {
                inside = !inside;
                if !inside {
                    values.push(std::mem::take(&mut value));
                }
            }
            _ if inside => value.push(character),
            _ => {}
        }
        escaped = character == '\\' && !escaped;
    }
    assert!(!inside, "a quote is open: {line}");
    values
}

#[test]
fn hostile_values_stay_where_they_are() {
    let access = hostile(b"/\" 200 1\\", b"\x1b]0;title\x07&\xc2\x9b31m", b"a\"b\\\" \xe2\x80\xa8 \t end");
    assert_eq!(
        line_of(&access, ""),
        r#"INFO:     127.0.0.1:5000 - "GET /\" 200 1\\?\x1b]0;title\x07&\xc2\x9b31m HTTP/1.1" 200 OK"#
    );
    let values = quoted(&line_of(&access, "combined"));
    assert_eq!(values.len(), 3);
    assert_eq!(values[1], r#"a\"b\\\" \xe2\x80\xa8 \t end"#);
}

proptest! {
    #[test]
    fn no_request_forges_a_line(
        target in prop::collection::vec(any::<u8>(), 0..40),
        query in prop::collection::vec(any::<u8>(), 0..40),
        // What a field cannot hold never comes so far.
        value in prop::collection::vec(any::<u8>().prop_filter("", |b| !matches!(b, b'\r' | b'\n' | 0)), 0..40),
    ) {
        let access = hostile(&target, &query, &value);
        for format in ["", "combined", "json", r#""%(r)s" %(s)s "%(q)s" "%(a)s" "%(request_id)-20s""#] {
            let line = line_of(&access, format);
            prop_assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        }
        prop_assert_eq!(quoted(&line_of(&access, "")).len(), 1);
        prop_assert_eq!(quoted(&line_of(&access, "combined")).len(), 3);
        // One object with ten keys and fifteen texts: no value has ended early or taken a key's place.
        let json = line_of(&access, "json");
        let texts = quoted(&json);
        let keys = ["time", "client", "method", "path", "query", "protocol", "status", "bytes", "duration_ms", "referer"];
        prop_assert!(keys.iter().all(|key| texts.iter().any(|text| text == key)), "{json}");
        prop_assert_eq!(texts.len(), 22);
        let whole = json.ends_with("\"traceparent\":null}");
        prop_assert!(whole);
    }

    #[test]
    fn any_text_is_a_format_or_refused(text in any::<String>()) {
        if let Ok(format) = AccessFormat::parse(&text, "", false) {
            let mut out = Vec::new();
            AccessLog::new(format, |_| 0).write(&access(), false, &mut out);
            prop_assert_eq!(out.last(), Some(&b'\n'));
        }
    }

    #[test]
    fn what_is_made_of_atoms_is_a_format(atoms in prop::collection::vec(prop::sample::select(vec![
        "%h", "%(h)s", "%%", "%t", "%>s", "%{x}i", "%(dt_ms).3f", " ", "\"", "%(s)5d", "%(header{y})s",
    ]), 0..12)) {
        let parsed = AccessFormat::parse(&format!("-{}", atoms.concat()), "", false);
        prop_assert!(parsed.is_ok());
    }
}
