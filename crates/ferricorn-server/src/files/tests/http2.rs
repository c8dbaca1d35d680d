//! Files on streams of HTTP/2: who waits for the disk holds up nobody, and whose file fails harms nobody.

use std::collections::HashMap;
use std::io::Read;

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const INTERNAL_ERROR: u32 = 2;

/// A client of HTTP/2 with wide windows, that takes frames as they come.
struct Streams {
    socket: TcpStream,
    received: Vec<u8>,
    bodies: HashMap<u32, Vec<u8>>,
    /// How streams ended: None in order, else the code of the RST_STREAM.
    ends: HashMap<u32, Option<u32>>,
}

impl Streams {
    fn connect(address: &Address) -> Self {
        let Address::Ip(address) = address else { panic!("{address:?}") };
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 section 6.5.2), and the connection's own window.
        begin.extend(frame(4, 0, 0, &[&[0, 4][..], &WINDOW.to_be_bytes()].concat()));
        begin.extend(frame(8, 0, 0, &WINDOW.to_be_bytes()));
        socket.write_all(&begin).unwrap();
        Self { socket, received: Vec::new(), bodies: HashMap::new(), ends: HashMap::new() }
    }

    fn get(&mut self, stream: u32, path: &str) {
        // GET, http, a path and an authority, nothing indexed (RFC 7541 section 6).
        let block = [&[0x82, 0x86, 0x04, path.len() as u8][..], path.as_bytes(), &[0x01, 1, b'a']].concat();
        self.socket.write_all(&frame(HEADERS, END_STREAM | 4, stream, &block)).unwrap();
    }

    fn reset(&mut self, stream: u32) {
        self.socket.write_all(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())).unwrap();
    }

    fn has_ended(&mut self, stream: u32) -> bool {
        match self.socket.read_to_end(&mut self.received) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => panic!("the connection ends: {result:?}"),
        }
        while let Some(length) = self.received.first_chunk().map(|&[a, b, c]| u32::from_be_bytes([0, a, b, c]) as usize)
            && self.received.len() >= 9 + length
        {
            let frame: Vec<u8> = self.received.drain(..9 + length).collect();
            self.take(frame[3], frame[4], u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]), &frame[9..]);
        }
        self.ends.contains_key(&stream)
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        match kind {
            DATA => self.bodies.entry(stream).or_default().extend_from_slice(payload),
            RST_STREAM => {
                self.ends.insert(stream, Some(u32::from_be_bytes(payload.try_into().unwrap())));
            }
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.ends.insert(stream, None);
        }
    }

    fn body(&self, stream: u32) -> &[u8] {
        self.bodies.get(&stream).map_or(&[], Vec::as_slice)
    }
}

const WINDOW: u32 = 1 << 24;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[test]
fn other_streams_go_ahead_while_a_file_is_read() {
    let (scratch, content) = Scratch::new("streams", PART);
    let (disk, hand) = Slow::new();
    let served = served(scratch.0.clone(), disk);
    let mut client = Streams::connect(&served.address);
    client.get(1, "/file");
    served.run_until(|| served.worker.calls() == 1);
    let (offset, first) = hand.asked();
    assert!(offset == 0 && first > 0 && first <= PART / 4, "{first}");
    client.get(3, "/");
    client.get(5, "/file");
    client.get(7, "/");
    served.run_until(|| client.has_ended(3) && client.has_ended(7));
    assert_eq!((client.body(3), client.body(7), client.body(1)), (&b"hello"[..], &b"hello"[..], &b""[..]));
    drop(hand.answer);
    served.run_until(|| client.has_ended(1) && client.has_ended(5));
    assert_eq!(client.ends, HashMap::from([(1, None), (3, None), (5, None), (7, None)]));
    assert!(client.body(1) == content && client.body(5) == content);
    assert_eq!(served.problems(), [""; 0]);
}

#[test]
fn many_files_at_once_come_whole() {
    let (scratch, content) = Scratch::new("many", PART + 4321);
    let (slow, hand) = Slow::new();
    drop(hand.answer);
    for disk in [Arc::new(System) as Arc<dyn Disk>, slow] {
        let served = served(scratch.0.clone(), disk);
        let mut client = Streams::connect(&served.address);
        let streams: Vec<u32> = (0..20).map(|index| 2 * index + 1).collect();
        streams.iter().for_each(|&stream| client.get(stream, "/file"));
        served.run_until(|| streams.iter().all(|&stream| client.has_ended(stream)));
        assert!(streams.iter().all(|&stream| client.ends[&stream].is_none() && client.body(stream) == content));
    }
}

#[test]
fn a_file_that_ends_early_resets_its_stream_alone() {
    let (scratch, content) = Scratch::new("short-stream", PART);
    let (disk, hand) = Slow::new();
    let served = served(scratch.0.clone(), disk);
    let mut client = Streams::connect(&served.address);
    client.get(1, "/file");
    served.run_until(|| served.worker.calls() == 1);
    hand.asked();
    OpenOptions::new().write(true).open(&scratch.0).unwrap().set_len(1000).unwrap();
    drop(hand.answer);
    served.run_until(|| client.has_ended(1));
    assert_eq!((client.ends[&1], client.body(1)), (Some(INTERNAL_ERROR), &content[..1000]));
    let problems = served.problems();
    let expected = format!(
        "broke off a response: a file that was promised up to byte {PART} has become shorter: nothing is left from \
         byte 1000 on"
    );
    assert!(problems.len() == 1 && problems[0].ends_with(&expected), "{problems:?}");
    client.get(3, "/");
    client.get(5, "/file");
    served.run_until(|| client.has_ended(3) && client.has_ended(5));
    assert_eq!((client.body(3), client.body(5), client.ends[&5]), (&b"hello"[..], &content[..1000], None));
}

#[test]
fn a_file_that_cannot_be_read_resets_its_stream_alone() {
    let (scratch, _) = Scratch::new("bad-stream", PART);
    let (disk, hand) = Slow::new();
    let served = served(scratch.0.clone(), disk);
    let mut client = Streams::connect(&served.address);
    client.get(1, "/file");
    client.get(3, "/");
    hand.answer(Err(io::Error::other("bad sector")));
    served.run_until(|| client.has_ended(1) && client.has_ended(3));
    assert_eq!((client.ends[&1], client.ends[&3]), (Some(INTERNAL_ERROR), None));
    assert_eq!(served.problems().len(), 1);
}

#[test]
fn a_stream_that_is_reset_while_its_file_is_read_leaves_nothing_behind() {
    let (scratch, content) = Scratch::new("reset-stream", 1000);
    let (disk, hand) = Slow::new();
    let served = served(scratch.0.clone(), disk);
    let mut client = Streams::connect(&served.address);
    client.get(1, "/file");
    served.run_until(|| served.worker.calls() == 1);
    hand.asked();
    client.reset(1);
    // More than are read ahead at once: those that are gone do not count.
    let streams = [3, 5, 7, 9, 11, 13];
    for stream in streams {
        client.get(stream, "/file");
    }
    served.run_until(|| served.worker.calls() == 7);
    drop(hand.answer);
    served.run_until(|| streams.iter().all(|&stream| client.has_ended(stream)));
    assert!(streams.iter().all(|&stream| client.ends[&stream].is_none() && client.body(stream) == content));
    assert_eq!((client.body(1), served.problems()), (&b""[..], vec![]));
}
