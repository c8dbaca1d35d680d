//! One request and its response, the way a driver goes.

use std::io::IoSlice;
use std::rc::Rc;
use std::time::Instant;

use asgi::{Headers, Outcome, ResponseStart};
use ferricorn_proto::http1::{Closing, Connection, Finished, Input, Now};
use ferricorn_proto::{Content, Limits, Piece};

#[test]
fn a_request_and_its_response() {
    #[expect(clippy::disallowed_methods, reason = "a test is outside")]
    let instant = Instant::now();
    let now = Now { instant, date: b"Sun, 06 Nov 1994 08:49:37 GMT" };
    let mut connection = Connection::<Vec<u8>>::new(Rc::new(Limits::default()), instant);
    for repeated in [false, true] {
        let mut bytes = b"get /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n".to_vec();
        let step = connection.handle_input(&mut bytes, &now);
        let Ok(Some(Input::Request(head))) = step.event else { panic!("{:?}", step.event) };
        assert_eq!((head.method, head.path, head.query), ("GET", &b"/a"[..], &b"b=c"[..]));
        assert_eq!(head.headers.as_block(), b"host: x\r\naccept: */*\r\n");
        assert_eq!((head.headers_repeated, head.has_body, head.upgrade), (repeated, false, false));
        drop(head);

        let headers = Headers::from_iter([("content-type", "text/plain")]).unwrap();
        connection.start(&ResponseStart { status: 200, headers, trailers: false }).unwrap();
        assert!(connection.transmit().is_empty());
        connection.body(Content::Bytes(b"Hello".to_vec()), false, &now).unwrap();
        assert_eq!(connection.finish(Outcome::Returned, &now), Finished::Complete);
        let mut slices = [IoSlice::new(&[]); 4];
        let Piece::Bytes(1) = connection.transmit().next(&mut slices) else { panic!() };
        let expected = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nHello";
        assert_eq!(&*slices[0], expected);
        connection.transmit().consume(expected.len());
        connection.handle_written(&now);
        assert_eq!(connection.closing(), Closing::No);
        assert!(connection.is_idle() && connection.wants_input());
    }
}
