//! Laws that hold for all frames in all pieces, and for all messages through all parameters of compression.

use ferricorn_proto::websocket::Limits;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::deflate::Client;
use crate::support::frames::{ClientFrame, ServerFrame};
use crate::support::inflate::Inflater;
use crate::support::model::{Model, State};
use crate::support::{Driver, Seen, bytes_of};

/// What is in a message: text of characters of every width, other text, and bytes that are none.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-zé漢\u{1f980}]{0,12}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..12),
        1 => (any::<u8>(), 120_usize..140).prop_map(|(byte, length)| vec![byte & 0x7f; length]),
    ]
}

/// A message in fragments, with control frames between them.
fn message() -> impl Strategy<Value = Vec<ClientFrame>> {
    let control = prop_oneof![
        3 => Just(None),
        1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(|payload| Some(ClientFrame::ping(payload))),
        1 => Just(Some(ClientFrame::pong("unasked"))),
    ];
    let opcode = select(&[1_u8, 1, 1, 2][..]);
    (opcode, payload(), any::<[u8; 4]>(), prop::collection::vec((any::<Index>(), control), 0..4)).prop_map(
        |(opcode, payload, mask, cuts)| {
            let mut places: Vec<usize> = cuts.iter().map(|(at, _)| at.index(payload.len() + 1)).collect();
            places.sort_unstable();
            let starts = [&[0], &places[..]].concat();
            let ends = [&places[..], &[payload.len()]].concat();
            let mut frames = Vec::new();
            for (at, (start, end)) in starts.into_iter().zip(ends).enumerate() {
                let opcode = if at == 0 { opcode } else { 0 };
                let (fin, mask) = (at == cuts.len(), Some(mask));
                frames.push(ClientFrame { fin, mask, ..ClientFrame::new(opcode, &payload[start..end]) });
                frames.extend(cuts.get(at).and_then(|(_, control)| control.clone()));
            }
            frames
        },
    )
}

/// A frame that may be anything.
fn any_frame() -> impl Strategy<Value = Vec<ClientFrame>> {
    let opcode = prop_oneof![4 => select(&[0_u8, 1, 2, 8, 9, 10][..]), 1 => 0..16_u8];
    let reserved = prop_oneof![6 => Just(0_u8), 1 => 0..8_u8];
    let mask = prop_oneof![9 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
    let frame = (any::<bool>(), reserved, opcode, mask, payload());
    frame.prop_map(|(fin, reserved, opcode, mask, payload)| vec![ClientFrame { fin, reserved, opcode, mask, payload }])
}

fn close() -> impl Strategy<Value = Vec<ClientFrame>> {
    (select(&[1000_u16, 1001, 1005, 3000, 5000][..]), payload())
        .prop_map(|(code, reason)| vec![ClientFrame::close(code, reason)])
}

fn conversation() -> impl Strategy<Value = Vec<ClientFrame>> {
    let part = prop_oneof![12 => message(), 1 => any_frame(), 1 => close()];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// The frames as a client reads them, close frames without the reason.
fn plain(frames: Vec<ServerFrame>) -> Vec<ServerFrame> {
    let without_reason = |mut frame: ServerFrame| {
        if frame.opcode == 8 {
            frame.payload.truncate(2);
        }
        frame
    };
    frames.into_iter().map(without_reason).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever frames come, in whatever pieces: what a simpler session says.
    #[test]
    fn any_split_of_any_frames_gives_what_the_model_says(
        frames in conversation(),
        max_message in select(&[16_u64 * 1024 * 1024, 100, 10][..]),
        queue in select(&[32_usize, 2, 1][..]),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let mut model = Model::new(max_message, None);
        frames.iter().for_each(|frame| model.frame(frame));
        let bytes = bytes_of(&frames);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let cut: Vec<&[u8]> = places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        let whole = vec![&bytes[..]];
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        for (pieces, receiving) in [(&whole, true), (&cut, true), (&single, true), (&whole, false), (&cut, false)] {
            let mut driver = Driver::new(Limits { max_message, queue, ..Limits::default() });
            driver.receiving = receiving;
            pieces.iter().for_each(|piece| driver.feed(piece));
            driver.receiving = true;
            driver.settle();
            let is_message = |seen: &&Seen| matches!(seen, Seen::Text(_) | Seen::Binary(_));
            let messages: Vec<Seen> = driver.seen.iter().filter(is_message).cloned().collect();
            prop_assert_eq!(&messages, &model.messages);
            prop_assert_eq!(&plain(driver.written()), &model.written);
            prop_assert_eq!(driver.session.closed().map(|(code, _)| code), model.closed);
            prop_assert_eq!(driver.session.is_over(), model.state == State::Over);
            prop_assert!(driver.inbox.is_empty());
        }
    }

    /// Messages there and back, under every agreement, in every number of fragments, with memory given back in between.
    #[test]
    fn what_is_compressed_is_what_was_sent(
        server_bits in prop::option::of(8..16_u8),
        client_bits in prop::option::of(8..16_u8),
        (server_takeover, client_takeover) in any::<(bool, bool)>(),
        level in 0..10,
        messages in prop::collection::vec((compressible(), any::<Index>(), any::<bool>()), 1..6),
    ) {
        let parameter = |name: &str, bits: Option<u8>| bits.map(|bits| format!("; {name}_max_window_bits={bits}"));
        let mut offer = "permessage-deflate".to_owned();
        offer += &parameter("server", server_bits).unwrap_or_default();
        offer += &parameter("client", client_bits).unwrap_or_default();
        offer += if server_takeover { "" } else { "; server_no_context_takeover" };
        offer += if client_takeover { "" } else { "; client_no_context_takeover" };
        let mut driver = Driver::with_offer(Limits::default(), &offer);
        let mut client = Client::new(level, client_bits.map_or(15, |bits| bits.min(12)), client_takeover);
        let mut inflater = Inflater::new(server_bits.unwrap_or(13).min(13), server_takeover);
        for (message, cut, release) in messages {
            let compressed = client.message(&message);
            let (front, back) = compressed.split_at(cut.index(compressed.len() + 1));
            let frames = [ClientFrame::binary(front).compressed().begun(), ClientFrame::continuation(back)];
            let bytes = bytes_of(&frames);
            let (front, back) = bytes.split_at(cut.index(bytes.len()));
            driver.feed(front);
            driver.feed(back);
            prop_assert_eq!(driver.seen.pop(), Some(Seen::Binary(message.clone())));
            driver.send_binary(&message).unwrap();
            let frames = driver.written();
            prop_assert_eq!(frames.len(), 1);
            let received = match &frames[0] {
                frame if frame.compressed => {
                    prop_assert!(frame.payload.len() < message.len());
                    inflater.message(&frame.payload)
                }
                frame => Some(frame.payload.clone()),
            };
            prop_assert_eq!(received, Some(message));
            if release {
                driver.session.release_memory();
            }
        }
        prop_assert!(driver.seen.is_empty());
    }
}

/// Bytes that repeat themselves more or less, and some that do not at all.
fn compressible() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::collection::vec(any::<u8>(), 1..60);
    prop_oneof![
        3 => (piece, 1..200_usize).prop_map(|(piece, times)| piece.repeat(times)),
        1 => prop::collection::vec(any::<u8>(), 0..3000),
        1 => prop::collection::vec(select(&b"abcd"[..]), 0..3000),
    ]
}
