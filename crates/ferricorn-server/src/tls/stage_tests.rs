//! A stage against a client of rustls in memory: every version, every split of the bytes.

use std::io::{Read, Write};
use std::time::Duration;

use ferricorn_proto::Content;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::super::context::{MinimumVersion, Pair, Settings};
use super::*;
use crate::files::Disk;

/// A certificate for "localhost", and its key, good until 2126.
const CERTIFICATE: &str = include_str!("testdata/certificate.pem");
const KEY: &str = include_str!("testdata/key.pem");

struct Files(std::path::PathBuf);

impl Files {
    fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ferricorn-tls-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("certificate.pem"), CERTIFICATE).unwrap();
        std::fs::write(folder.join("key.pem"), KEY).unwrap();
        Self(folder)
    }

    fn pair(&self) -> Pair {
        let path = |name| self.0.join(name).to_str().unwrap().to_owned();
        Pair { certificate: path("certificate.pem"), key: path("key.pem"), password: None }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn context() -> Context {
    let files = Files::new();
    Context::new(Settings { pairs: vec![files.pair()], ..Settings::default() }).unwrap()
}

/// A disk that nobody has to wait for, on any file system.
struct InMemory;

impl Disk for InMemory {
    fn cached(&self, _: &std::fs::File, _: u64, count: u64) -> std::io::Result<u64> {
        Ok(count)
    }

    fn look(&self, file: &std::fs::File, offset: u64, buffer: &mut [u8]) -> std::io::Result<Option<usize>> {
        self.read(file, offset, buffer).map(Some)
    }
}

/// Both ends, and what is on its way between them.
struct Pipe {
    stage: Stage,
    client: ClientConnection,
    buffer: Vec<u8>,
    /// How many bytes each end is given at once.
    split: usize,
    /// What the server's protocol has been given.
    received: Vec<u8>,
    /// What the server's protocol waits to have written.
    transmit: Transmit<Vec<u8>>,
    ahead: Ahead,
    last: bool,
    came: Vec<Came>,
    /// What the client has been sent.
    got: Vec<u8>,
}

impl Pipe {
    fn new(context: &Context, versions: &[&'static rustls::SupportedProtocolVersion], split: usize) -> Self {
        Self::with(context, versions, split, rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES)
    }

    /// A client that offers these suites, in their order.
    fn with(
        context: &Context,
        versions: &[&'static rustls::SupportedProtocolVersion],
        split: usize,
        cipher_suites: &[rustls::SupportedCipherSuite],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in files::certificates(&Files::new().pair().certificate).unwrap() {
            roots.add(certificate).unwrap();
        }
        let default = rustls::crypto::aws_lc_rs::default_provider();
        let provider = Arc::new(rustls::crypto::CryptoProvider { cipher_suites: cipher_suites.to_vec(), ..default });
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            stage: Stage::new(context, Instant::now()).unwrap(),
            client: ClientConnection::new(Arc::new(config), name).unwrap(),
            buffer: vec![0; BUFFER + 64 * 1024],
            split,
            received: Vec::new(),
            transmit: Transmit::new(),
            ahead: Ahead::new(Arc::new(InMemory)),
            last: false,
            came: Vec::new(),
            got: Vec::new(),
        }
    }

    fn open(versions: &[&'static rustls::SupportedProtocolVersion], split: usize) -> Self {
        let mut pipe = Self::new(&context(), versions, split);
        pipe.run();
        assert!(!pipe.stage.is_handshaking() && !pipe.client.is_handshaking());
        pipe
    }

    /// Carries bytes until neither end has any.
    fn run(&mut self) {
        loop {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).unwrap();
            }
            let answer = self.send(&bytes);
            for mut part in answer.chunks(self.split) {
                while !part.is_empty() {
                    self.client.read_tls(&mut part).unwrap();
                    self.client.process_new_packets().unwrap();
                    let _ = self.client.reader().read_to_end(&mut self.got);
                }
            }
            if bytes.is_empty() && answer.is_empty() {
                return;
            }
        }
    }

    /// Gives the stage bytes of the client; what it answers.
    fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        for part in bytes.chunks(self.split) {
            self.stage.room(&mut self.buffer)[..part.len()].copy_from_slice(part);
            let came = self.stage.handle_input(&mut self.buffer, part.len());
            if let Came::Plain(count) | Came::Opened(count) = came {
                self.received.extend_from_slice(&self.buffer[..count]);
            }
            if came != Came::Plain(0) {
                self.came.push(came);
            }
            self.write(&mut answer);
        }
        self.write(&mut answer);
        answer
    }

    fn seal(&mut self) -> Result<Sealed, SealFault> {
        self.stage.encrypt(&self.transmit, &mut self.ahead, false, &mut self.buffer)
    }

    /// What a socket does that takes a part of all that it is offered.
    fn write(&mut self, answer: &mut Vec<u8>) {
        loop {
            if self.stage.has_covered() {
                let taken = self.stage.outgoing().len().min(self.split * 100);
                answer.extend_from_slice(&self.stage.outgoing()[..taken]);
                let covered = self.stage.handle_written(taken);
                self.transmit.consume(covered);
                continue;
            }
            let sealed = self.stage.encrypt(&self.transmit, &mut self.ahead, self.last, &mut self.buffer).unwrap();
            let Sealed { length, covered, .. } = sealed;
            if length == 0 {
                return;
            }
            let taken = length.min(self.split * 100);
            answer.extend_from_slice(&self.buffer[..taken]);
            if taken == length {
                self.transmit.consume(covered);
            } else {
                self.stage.keep(&self.buffer[taken..length], covered);
            }
        }
    }

    /// What the client has been sent since it was last asked.
    fn read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.got)
    }
}

const VERSIONS: [&[&rustls::SupportedProtocolVersion]; 2] = [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];
const SPLITS: [usize; 5] = [1, 7, 100, 5000, 100_000];

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 31 % 251) as u8).collect()
}

#[test]
fn aes_128_is_chosen_unless_the_client_would_rather_have_chacha20() {
    let context = context();
    let aes_256_first = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.to_vec();
    let chacha20_first: Vec<_> = aes_256_first.iter().rev().copied().collect();
    for versions in VERSIONS {
        for split in SPLITS {
            for (offered, expected) in [(&aes_256_first, "AES_128"), (&chacha20_first, "CHACHA20")] {
                let mut pipe = Pipe::with(&context, versions, split, offered);
                pipe.run();
                let suite = format!("{:?}", pipe.client.negotiated_cipher_suite().unwrap().suite());
                assert!(suite.contains(expected), "{suite} of {offered:?}");
            }
        }
    }
}

#[test]
fn any_split_gives_the_same_plaintext_both_ways() {
    for versions in VERSIONS {
        for split in SPLITS {
            let mut pipe = Pipe::open(versions, split);
            let request = bytes(if split < 10 { 3_000 } else { 60_000 });
            for part in request.chunks(9_000) {
                pipe.client.writer().write_all(part).unwrap();
                pipe.run();
            }
            assert_eq!(pipe.received, request, "{split}");
            pipe.transmit = transmit(&[100, 20_000, 5, 70_000, 16_384, 1]);
            let expected = content(&pipe.transmit);
            pipe.run();
            assert_eq!(pipe.read(), expected, "{split}");
            assert!(pipe.transmit.is_empty());
        }
    }
}

fn transmit(lengths: &[usize]) -> Transmit<Vec<u8>> {
    let mut transmit = Transmit::new();
    for length in lengths {
        transmit.push(Content::Bytes(bytes(*length)));
    }
    transmit
}

fn content(transmit: &Transmit<Vec<u8>>) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    match transmit.next(&mut slices) {
        Piece::Bytes(count) => slices[..count].iter().flat_map(|slice| slice.to_vec()).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn what_waits_stays_until_its_ciphertext_is_written() {
    let mut pipe = Pipe::open(VERSIONS[0], 100_000);
    pipe.transmit = transmit(&[10, 200_000]);
    let Sealed { length, covered, .. } = pipe.seal().unwrap();
    assert!(covered <= AHEAD && length > covered, "{covered} {length}");
    assert_eq!(pipe.transmit.len(), 200_010);
    let ciphertext = pipe.buffer[..length].to_vec();
    pipe.stage.keep(&ciphertext[1..], covered);
    assert_eq!(pipe.stage.handle_written(length - 2), 0);
    assert_eq!(pipe.stage.handle_written(1), covered);
    assert!(!pipe.stage.has_outgoing());
}

#[test]
fn short_pieces_share_a_record() {
    let mut pipe = Pipe::open(VERSIONS[0], 100_000);
    pipe.transmit = transmit(&[100, 20_000]);
    let Sealed { length, covered, .. } = pipe.seal().unwrap();
    assert_eq!(covered, 20_100);
    let records = 2;
    assert_eq!(length, covered + records * (5 + 16 + 1));
}

#[test]
fn frames_and_their_heads_fill_whole_records() {
    let mut pipe = Pipe::open(VERSIONS[0], 100_000);
    pipe.transmit = transmit(&[9, RECORD].repeat(6));
    let Sealed { length, covered, .. } = pipe.seal().unwrap();
    assert_eq!((length, covered), (AHEAD + AHEAD / RECORD * (5 + 16 + 1), AHEAD));
}

#[test]
fn pieces_of_any_lengths_arrive_in_order() {
    let mut pipe = Pipe::open(VERSIONS[0], 100_000);
    for lengths in [&[9, RECORD, 9, RECORD + 1][..], &[RECORD - 1, 2 * RECORD, 1], &[40_000, 5, 70_000, RECORD]] {
        pipe.transmit = transmit(lengths);
        let expected = content(&pipe.transmit);
        pipe.run();
        assert!(pipe.read() == expected && pipe.transmit.is_empty(), "{lengths:?}");
    }
}

#[test]
fn files_are_read_and_encrypted() {
    let files = Files::new();
    let path = files.0.join("file");
    let expected = bytes(150_000);
    std::fs::write(&path, &expected).unwrap();
    let mut pipe = Pipe::open(VERSIONS[0], 100_000);
    let open = || std::fs::File::open(&path).unwrap();
    pipe.transmit.push(Content::Bytes(vec![b'<']));
    pipe.transmit.push(Content::File { file: open(), offset: 10, count: 149_990 });
    pipe.transmit.push(Content::Bytes(vec![b'>']));
    pipe.run();
    assert_eq!(pipe.read(), [b"<", &expected[10..], b">"].concat());
    pipe.transmit.push(Content::File { file: open(), offset: 150_000, count: 1 });
    let Err(SealFault::File(fault)) = pipe.seal() else { panic!("the file is shorter than was promised") };
    assert!(fault.at == 150_000 && fault.error.is_none());
}

#[test]
fn the_end_goes_with_the_last_bytes() {
    for versions in VERSIONS {
        let mut pipe = Pipe::open(versions, 100_000);
        pipe.transmit = transmit(&[100_000]);
        pipe.last = true;
        pipe.run();
        assert!(pipe.stage.is_closed());
        assert_eq!(pipe.read().len(), 100_000);
        assert!(pipe.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn the_end_of_the_client_is_told_once_and_what_follows_is_ignored() {
    for versions in VERSIONS {
        for split in SPLITS {
            let mut pipe = Pipe::open(versions, split);
            pipe.came.clear();
            pipe.client.writer().write_all(b"last words").unwrap();
            pipe.client.send_close_notify();
            pipe.run();
            if pipe.stage.has_unseen() {
                pipe.came.push(pipe.stage.handle_input(&mut pipe.buffer, 0));
            }
            pipe.send(b"\x17\x03\x03\x00\x05nothing");
            assert_eq!(pipe.received, b"last words");
            assert_eq!(pipe.came.iter().filter(|came| **came == Came::End).count(), 1);
            assert!(!pipe.stage.has_unseen());
            // An answer still goes.
            pipe.transmit = transmit(&[10]);
            pipe.run();
            assert_eq!(pipe.read(), bytes(10));
        }
    }
}

#[test]
fn a_client_may_change_its_keys() {
    for split in SPLITS {
        let mut pipe = Pipe::open(VERSIONS[0], split);
        for round in 0..3_u8 {
            pipe.client.refresh_traffic_keys().unwrap();
            pipe.client.writer().write_all(&[round]).unwrap();
            pipe.run();
            pipe.transmit.push(Content::Bytes(vec![round; 20_000]));
            pipe.run();
            assert_eq!(pipe.read(), vec![round; 20_000]);
        }
        assert_eq!(pipe.received, [0, 1, 2]);
    }
}

#[test]
fn what_is_no_tls_fails_with_an_answer() {
    for split in SPLITS {
        let mut pipe = Pipe::new(&context(), VERSIONS[0], split);
        let answer = pipe.send(b"GET / HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{split}");
        assert!(answer.ends_with(b"\r\n\r\nThis is a port for HTTPS: use https://...\n"));
        let failure = pipe.stage.take_failure().unwrap().to_string();
        assert_eq!(failure, "refused a connection: it speaks HTTP, and this is a port for HTTPS");
        let mut pipe = Pipe::new(&context(), VERSIONS[0], split);
        let answer = pipe.send(b"\x01\x02\x03\x04\x05\x06\x07\x08");
        assert_eq!(answer.first(), Some(&21), "an alert");
        assert_eq!(pipe.came, [Came::Failed]);
        let failure = pipe.stage.take_failure().unwrap().to_string();
        assert_eq!(failure, "a TLS handshake failed: what the client sent is no TLS");
    }
}

#[test]
fn a_handshake_may_break_off_in_the_middle_of_a_message() {
    let ends: [&[u8]; 4] =
        [b"\x17\x03\x03\x00\x05nothi", b"\x16\x03\x03\xff\xff", b"\x15\x03\x03\x00\x02\x02\x28", b"???????"];
    for (split, end) in SPLITS.into_iter().flat_map(|split| ends.map(|end| (split, end))) {
        let mut pipe = Pipe::new(&context(), VERSIONS[0], split);
        let mut hello = Vec::new();
        pipe.client.write_tls(&mut hello).unwrap();
        // The message in records of a few bytes each, and not all of it.
        let parts = hello[5..].chunks(30).take(4);
        let mut bytes: Vec<u8> = parts.flat_map(|part| [&[22, 3, 1, 0, part.len() as u8], part].concat()).collect();
        bytes.extend_from_slice(end);
        pipe.send(&bytes);
        assert_eq!(pipe.came, [Came::Failed], "{split} {end:?}");
    }
}

#[test]
fn a_version_that_is_not_allowed_fails_in_plain_words() {
    let files = Files::new();
    let settings =
        Settings { pairs: vec![files.pair()], minimum_version: MinimumVersion::Tls13, ..Settings::default() };
    let mut pipe = Pipe::new(&Context::new(settings).unwrap(), VERSIONS[1], 100_000);
    let mut hello = Vec::new();
    pipe.client.write_tls(&mut hello).unwrap();
    let alert = pipe.send(&hello);
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 70], "protocol_version");
    let failure = pipe.stage.take_failure().unwrap().to_string();
    assert_eq!(failure, "a TLS handshake failed: the client speaks no version of TLS that is allowed");
}

#[test]
fn a_record_that_was_changed_breaks_the_connection() {
    for versions in VERSIONS {
        let mut pipe = Pipe::open(versions, 100_000);
        pipe.client.writer().write_all(b"request").unwrap();
        let mut record = Vec::new();
        pipe.client.write_tls(&mut record).unwrap();
        *record.last_mut().unwrap() ^= 1;
        let alert = pipe.send(&record);
        assert_eq!((pipe.came.last(), pipe.received.len()), (Some(&Came::Failed), 0));
        assert!(!alert.is_empty());
        let failure = pipe.stage.take_failure().unwrap().to_string();
        assert_eq!(failure, "broke off a TLS connection: a record of the client cannot be decrypted");
    }
}

#[test]
fn a_handshake_has_its_time() {
    let context = context();
    for (sent, expected) in [(0, None), (1, Some("refused a connection: its TLS handshake took too long"))] {
        let mut pipe = Pipe::new(&context, VERSIONS[0], 100_000);
        let mut hello = Vec::new();
        pipe.client.write_tls(&mut hello).unwrap();
        pipe.send(&hello[..sent]);
        let deadline = pipe.stage.deadline;
        assert!(!pipe.stage.is_late(deadline - Duration::from_millis(1)));
        assert!(pipe.stage.is_late(deadline));
        assert_eq!(pipe.stage.take_failure().map(|failure| failure.to_string()).as_deref(), expected);
    }
}

#[test]
fn an_idle_connection_has_no_buffer() {
    let mut pipe = Pipe::open(VERSIONS[0], 1000);
    pipe.client.writer().write_all(&bytes(50_000)).unwrap();
    pipe.run();
    pipe.transmit = transmit(&[50_000]);
    pipe.run();
    pipe.stage.release_memory();
    assert_eq!((pipe.stage.incoming.capacity(), pipe.stage.outgoing.capacity()), (0, 0));
}

#[test]
fn no_changed_byte_of_a_handshake_gives_the_protocol_anything() {
    for (versions, split) in VERSIONS.into_iter().flat_map(|versions| [7, 100_000].map(|split| (versions, split))) {
        for (flight, position) in (0..2).flat_map(|flight| (0..300).step_by(7).map(move |position| (flight, position)))
        {
            let mut pipe = Pipe::new(&context(), versions, split);
            for number in 0..=flight {
                let mut sent = Vec::new();
                while pipe.client.wants_write() {
                    pipe.client.write_tls(&mut sent).unwrap();
                }
                if let Some(byte) = sent.get_mut(position).filter(|_| number == flight) {
                    *byte ^= 0x41;
                }
                let answer = pipe.send(&sent);
                let _ = pipe.client.read_tls(&mut answer.as_slice());
                let _ = pipe.client.process_new_packets();
            }
            // Whatever came of it, further bytes do no harm.
            pipe.send(&bytes(200));
            assert!(pipe.received.is_empty(), "{flight} {position}");
        }
    }
}
