//! RFC 6455 section 5: frames, fragments and control frames.

use ferricorn_proto::websocket::{Limits, ProtocolError};

use crate::support::frames::{ClientFrame, ServerFrame};
use crate::support::{Driver, Seen, bytes_of};

fn server(opcode: u8, payload: &[u8]) -> ServerFrame {
    ServerFrame { opcode, compressed: false, payload: payload.to_vec() }
}

fn closing(code: u16, reason: &str) -> ServerFrame {
    server(8, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Hands the frames in whole, byte by byte and in every two pieces; all give the same.
fn run(limits: &Limits, frames: &[ClientFrame]) -> (Vec<Seen>, Vec<ServerFrame>) {
    let bytes = bytes_of(frames);
    run_bytes(limits, &bytes)
}

fn run_bytes(limits: &Limits, bytes: &[u8]) -> (Vec<Seen>, Vec<ServerFrame>) {
    let outcome = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut driver = Driver::new(limits.clone());
        pieces.for_each(|piece| driver.feed(piece));
        (driver.seen.clone(), driver.written())
    };
    let whole = outcome(&mut std::iter::once(bytes));
    assert_eq!(whole, outcome(&mut bytes.chunks(1)));
    for cut in 0..bytes.len().min(300) {
        assert_eq!(whole, outcome(&mut [&bytes[..cut], &bytes[cut..]].into_iter()), "cut at {cut}");
    }
    whole
}

fn fails(frames: &[ClientFrame], error: ProtocolError) {
    let (seen, written) = run(&Limits::default(), frames);
    let reason = error.to_string();
    let end = [Seen::Failed(error), Seen::Closed(error.code(), reason.clone())];
    assert!(seen.ends_with(&end), "{frames:?}: {seen:?}");
    assert_eq!(written.last(), Some(&closing(error.code(), &reason)), "{frames:?}");
}

/// Section 5.7.
#[test]
fn the_examples_of_the_rfc() {
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(run_bytes(&Limits::default(), &masked).0, [Seen::Text("Hello".to_owned())]);
    let ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(run_bytes(&Limits::default(), &ping).1, [server(10, b"Hello")]);
}

#[test]
fn ws_08_messages_of_every_length() {
    for length in [0, 1, 7, 8, 125, 126, 127, 128, 65_535, 65_536, 70_000] {
        let payload: Vec<u8> = (0..length).map(|at| (at % 127) as u8).collect();
        let text = String::from_utf8(payload.clone()).unwrap();
        let frames = [ClientFrame::text(&text), ClientFrame::binary(&payload)];
        let mut driver = Driver::new(Limits::default());
        driver.feed_frames(&frames);
        for piece in bytes_of(&frames).chunks(1000) {
            driver.feed(piece);
        }
        let both = [Seen::Text(text.clone()), Seen::Binary(payload.clone())];
        assert_eq!(driver.seen, [both.clone(), both].concat(), "{length}");
        driver.send_text(&text).unwrap();
        driver.send_binary(&payload).unwrap();
        assert_eq!(driver.written(), [server(1, &payload), server(2, &payload)]);
    }
}

#[test]
fn ws_09_fragments_are_joined_with_control_frames_between_them() {
    let frames = [
        ClientFrame::text("Hel").begun(),
        ClientFrame::ping("1"),
        ClientFrame::continuation("").begun(),
        ClientFrame::pong("unasked"),
        ClientFrame::continuation("lo"),
        ClientFrame::binary([1]).begun(),
        ClientFrame::continuation([2]),
        ClientFrame::close(1000, "bye"),
    ];
    let (seen, written) = run(&Limits::default(), &frames);
    let messages = [Seen::Text("Hello".to_owned()), Seen::Binary(vec![1, 2]), Seen::Closed(1000, "bye".to_owned())];
    assert_eq!(seen, messages);
    assert_eq!(written, [server(10, b"1"), closing(1000, "")]);
}

#[test]
fn what_breaks_the_framing_is_1002() {
    let text = || ClientFrame::text("a");
    let unmasked = ClientFrame { mask: None, ..text() };
    fails(&[unmasked], ProtocolError::Unmasked);
    for reserved in 1..8 {
        fails(&[ClientFrame { reserved, ..text() }], ProtocolError::ReservedBit);
        fails(&[ClientFrame { reserved, ..ClientFrame::ping("") }], ProtocolError::ReservedBit);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        fails(&[ClientFrame::new(opcode, "")], ProtocolError::Opcode);
    }
    for opcode in [8, 9, 10] {
        fails(&[ClientFrame::new(opcode, "").begun()], ProtocolError::ControlFragmented);
        fails(&[ClientFrame::new(opcode, vec![0; 126])], ProtocolError::ControlTooLong);
    }
    fails(&[ClientFrame::continuation("a")], ProtocolError::Continuation);
    fails(&[text(), ClientFrame::continuation("a")], ProtocolError::Continuation);
    fails(&[text().begun(), text()], ProtocolError::Interleaved);
    fails(&[text().begun(), ClientFrame::binary("a").begun()], ProtocolError::Interleaved);
}

/// Section 5.5.2, as the Autobahn suite's group 2: payloads of every length, and many at once.
#[test]
fn ws_09_pings_are_answered_with_what_they_carry() {
    for length in 0..=125 {
        let payload: Vec<u8> = (0..length).map(|at| 0xfe ^ at).collect();
        let mut driver = Driver::new(Limits::default());
        driver.feed_frames(&[ClientFrame::ping(&payload)]);
        assert_eq!(driver.written(), [server(10, &payload)]);
    }
    let pings: Vec<_> = (0..10_u8).map(|number| ClientFrame::ping([number])).collect();
    let (seen, written) = run(&Limits::default(), &pings);
    assert_eq!(written, (0..10_u8).map(|number| server(10, &[number])).collect::<Vec<_>>());
    assert!(seen.is_empty());
    // A pong that nobody asked for, whatever it carries, is heard and nothing else.
    let (seen, written) = run(&Limits::default(), &[ClientFrame::pong(""), ClientFrame::pong([0; 125])]);
    assert!(seen.is_empty() && written.is_empty());
}
