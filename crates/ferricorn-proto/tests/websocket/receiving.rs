//! Messages that nobody waits for, messages that are too big, text that is none; and what memory is held for them.

use ferricorn_proto::websocket::{Limits, ProtocolError};

use crate::support::frames::ClientFrame;
use crate::support::{Driver, Seen, bytes_of};

fn texts(range: std::ops::Range<usize>) -> Vec<ClientFrame> {
    range.map(|number| ClientFrame::text(number.to_string())).collect()
}

/// WS-29: reading stops, and so does the client.
#[test]
fn ws_29_a_queue_is_full_at_its_number_of_messages() {
    let mut driver = Driver::new(Limits { queue: 3, ..Limits::default() });
    driver.receiving = false;
    driver.feed_frames(&texts(0..5));
    assert!(!driver.session.wants_input() && driver.session.has_message());
    assert_eq!(driver.inbox, bytes_of(&texts(3..5)));
    // Nothing behind them is looked at, not even a ping.
    driver.feed_frames(&[ClientFrame::ping("p")]);
    assert!(driver.written().is_empty());
    assert_eq!(driver.session.take_message(crate::support::seen), Some(Seen::Text("0".to_owned())));
    assert!(driver.session.wants_input());
    driver.settle();
    assert_eq!(driver.inbox, bytes_of(&[&texts(4..5)[..], &[ClientFrame::ping("p")]].concat()));
    driver.receiving = true;
    driver.settle();
    let expected: Vec<_> = (1..5).map(|number| Seen::Text(number.to_string())).collect();
    assert_eq!(driver.seen, expected);
    assert_eq!(driver.written().len(), 1);
}

#[test]
fn ws_29_a_queue_is_full_at_64_kib() {
    let messages = [
        ClientFrame::binary(vec![1; 40_000]),
        ClientFrame::text("t".repeat(30_000)),
        ClientFrame::binary(vec![2; 100_000]),
        ClientFrame::text("u".repeat(100_000)),
        ClientFrame::binary([]),
    ];
    // In whole and in parts, which are queued in other ways.
    for size in [usize::MAX, 10_000] {
        let mut driver = Driver::new(Limits::default());
        driver.receiving = false;
        bytes_of(&messages).chunks(size).for_each(|piece| driver.feed(piece));
        assert_eq!(driver.inbox, bytes_of(&messages[2..]), "{size}");
        driver.session.take_message(|message| assert_eq!(message.as_bytes().len(), 40_000)).unwrap();
        driver.settle();
        // One message may be larger than all the room there is.
        assert_eq!(driver.inbox, bytes_of(&messages[3..]), "{size}");
        driver.receiving = true;
        driver.settle();
        let lengths: Vec<_> = driver
            .seen
            .iter()
            .map(|seen| match seen {
                Seen::Text(text) => text.len(),
                Seen::Binary(bytes) => bytes.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lengths, [30_000, 100_000, 100_000, 0]);
    }
}

#[test]
fn a_queue_of_none_reads_only_what_is_wanted() {
    let mut driver = Driver::new(Limits { queue: 0, ..Limits::default() });
    driver.receiving = false;
    driver.feed_frames(&texts(0..2));
    assert!(!driver.session.wants_input() && !driver.session.has_message());
    driver.receiving = true;
    driver.settle();
    assert_eq!(driver.seen.len(), 2);
}

/// A long turn of queueing and taking uses the same memory again.
#[test]
fn messages_keep_their_order_through_the_queue() {
    let mut driver = Driver::new(Limits { queue: 10, ..Limits::default() });
    driver.receiving = false;
    let mut taken = 0_usize;
    for number in 0..3_000_usize {
        let payload = format!("{number} {}", "x".repeat(number % 2_000));
        driver.feed_frames(&[if number % 3 == 0 { ClientFrame::binary(payload) } else { ClientFrame::text(payload) }]);
        if number % 10 > 4 || !driver.inbox.is_empty() {
            let start = format!("{taken} x").into_bytes();
            let is_next = |message: &[u8]| message.starts_with(&start[..start.len().min(message.len())]);
            assert_eq!(driver.session.take_message(|message| is_next(message.as_bytes())), Some(true));
            taken += 1;
            driver.settle();
        }
    }
    while driver.session.take_message(|_| ()).is_some() {
        taken += 1;
        driver.settle();
    }
    assert_eq!(taken, 3_000);
}

#[test]
fn want_message_can_be_taken_back() {
    let mut driver = Driver::new(Limits::default());
    driver.settle();
    driver.receiving = false;
    driver.feed_frames(&texts(0..1));
    assert!(driver.seen.is_empty() && driver.session.has_message());
}

#[test]
fn ws_26_too_big_is_said_at_the_head_of_the_frame() {
    let limits = Limits { max_message: 1000, ..Limits::default() };
    let fits = ClientFrame::binary(vec![0; 1000]);
    let over = [
        vec![ClientFrame::binary("").head(1001)],
        vec![ClientFrame::text("").head(u64::MAX >> 1)],
        vec![ClientFrame::text("a").begun().bytes(), ClientFrame::continuation("").head(1000)],
        // A fragment of nothing counts, lest they go on for ever; the last one may be empty.
        vec![
            ClientFrame::binary(vec![0; 999]).begun().bytes(),
            ClientFrame::continuation("").begun().bytes().repeat(2),
        ],
    ];
    for frames in over {
        let mut driver = Driver::new(limits.clone());
        driver.feed(&fits.bytes());
        driver.feed_frames(&[ClientFrame::binary(vec![0; 1000]).begun(), ClientFrame::continuation("")]);
        driver.feed(&frames.concat());
        assert_eq!(driver.seen[2], Seen::Failed(ProtocolError::MessageTooBig), "{frames:?}");
        assert_eq!(driver.written().last().unwrap().close_code(), Some(1009));
    }
}

/// Section 5.2: the shortest form, and no 64th bit.
#[test]
fn lengths_that_may_not_be_written_so() {
    let mask = [0; 4];
    let heads = [
        [&[0x82, 0xfe, 0, 125][..], &mask].concat(),
        [&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &mask].concat(),
        [&[0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0][..], &mask].concat(),
    ];
    for head in heads {
        let mut driver = Driver::new(Limits::default());
        head.iter().for_each(|byte| driver.feed(&[*byte]));
        assert_eq!(driver.seen[0], Seen::Failed(ProtocolError::Length), "{head:x?}");
    }
}

/// Section 8.1, as strictly as the Autobahn suite's group 6.4 wants it: at the first byte that cannot be right.
#[test]
fn ws_26_bad_utf8_fails_at_once() {
    let start = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes();
    for bad in
        [&[0xf4, 0x90][..], &[0xed, 0xa0], &[0xc0], &[0xff], &[0x80], &[0xe0, 0x80], &[0xf0, 0x80], &[0xce, b'a']]
    {
        // Within one frame of which much is to come, and in fragments.
        let mut driver = Driver::new(Limits::default());
        driver.feed(&ClientFrame { mask: Some([0; 4]), ..ClientFrame::text("") }.head(1000));
        driver.feed(start);
        let (last, before) = bad.split_last().unwrap();
        driver.feed(before);
        assert!(driver.seen.is_empty(), "{bad:x?}");
        driver.feed(&[*last]);
        assert_eq!(driver.seen[0], Seen::Failed(ProtocolError::Utf8), "{bad:x?}");
        for size in 1..4 {
            let mut driver = Driver::new(Limits::default());
            let text = [start, bad].concat();
            let mut parts = text.chunks(size);
            driver.feed_frames(&[ClientFrame::text(parts.next().unwrap()).begun()]);
            parts.for_each(|part| driver.feed_frames(&[ClientFrame::continuation(part).begun()]));
            assert_eq!(driver.seen[0], Seen::Failed(ProtocolError::Utf8), "{bad:x?} by {size}");
            assert_eq!(driver.written()[0].close_code(), Some(1007));
        }
    }
}

#[test]
fn text_may_be_cut_within_a_character_but_not_end_there() {
    let text = "aé漢\u{1f980}".repeat(20);
    for cut in 0..text.len() {
        let (front, back) = text.as_bytes().split_at(cut);
        let mut driver = Driver::new(Limits::default());
        driver.feed_frames(&[ClientFrame::text(front).begun(), ClientFrame::continuation(back)]);
        assert_eq!(driver.seen, [Seen::Text(text.clone())], "cut at {cut}");
        driver.seen.clear();
        driver.feed_frames(&[ClientFrame::text(front).begun(), ClientFrame::continuation("")]);
        let whole = text.is_char_boundary(cut);
        let failed = Seen::Failed(ProtocolError::Utf8);
        assert_eq!(driver.seen[0], if whole { Seen::Text(text[..cut].to_owned()) } else { failed }, "ends at {cut}");
    }
}

/// An idle session gives back its memory, and goes on as if nothing had been.
#[test]
fn memory_that_is_released_is_not_missed() {
    let mut driver = Driver::new(Limits::default());
    let message = ClientFrame::text("x".repeat(100_000));
    let bytes = message.bytes();
    for cut in [10, 50_000, bytes.len() - 1] {
        driver.feed(&bytes[..cut]);
        // Within a message nothing of it may go.
        driver.session.release_memory();
        driver.feed(&bytes[cut..]);
        driver.session.release_memory();
    }
    driver.receiving = false;
    driver.settle();
    driver.feed(&bytes);
    driver.session.release_memory();
    driver.receiving = true;
    driver.settle();
    assert_eq!(driver.seen, vec![Seen::Text("x".repeat(100_000)); 4]);
}

#[test]
fn a_session_shows_what_it_is() {
    let driver = Driver::new(Limits::default());
    assert_eq!(format!("{:?}", driver.session), "Session { fate: Open, closed: None, .. }");
}
