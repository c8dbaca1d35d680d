//! What the bytes of an input choose, and what a run keeps of it.

use std::rc::Rc;
use std::time::Duration;

use asgi::{Headers, ResponseStart};
use ferricorn_proto::{Finished, Limits, http2};

/// How the client's bytes come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A frame at a time: only so does the client know what the server knew when it wrote something.
    Frames,
    Bytes,
    /// All until something else happens, in pieces of this size.
    Joined(usize),
}

/// A request that was given out, and what its application has done.
#[derive(Default)]
pub(crate) struct Call {
    /// Bytes of the body that were accepted, and whether that was all.
    pub(crate) sent: u64,
    pub(crate) complete: bool,
    /// Bytes of the request's body that were taken, and whether that was all.
    pub(crate) taken: u64,
    pub(crate) ended: bool,
    pub(crate) finished: Option<Finished>,
    pub(crate) websocket: bool,
    pub(crate) head: bool,
}

/// What is left of the program.
pub(crate) struct Program<'a>(pub(crate) &'a [u8]);

impl Program<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = usize::from(self.byte()) % (most + 1);
        (0..length).map(|_| self.byte()).collect()
    }
}

/// The limits that a byte chooses.
pub(crate) fn limits_of(choice: u8) -> (Limits, http2::Limits) {
    let http2 = http2::Limits {
        max_concurrent_streams: [1, 2, 4, 100][usize::from(choice & 3)],
        stream_window: [65_535, 10, 300, 1 << 20][usize::from(choice >> 2 & 3)],
        connection_window: 65_535,
        max_header_list_size: if choice & 16 == 0 { 65_536 } else { 300 },
        keep_alive_interval: (choice & 32 != 0).then_some(Duration::from_secs(3)),
        ..http2::Limits::default()
    };
    let limits = Limits {
        body: (choice & 64 != 0).then_some(100),
        date: choice & 128 != 0,
        headers: Headers::from_iter([("server", "ferricorn")]).expect("a field"),
        http2: Some(Rc::new(http2.clone())),
        ..Limits::default()
    };
    (limits, http2)
}

/// A value that does not fit into the smaller limit of a list.
pub(crate) const A_LOT: &str = match str::from_utf8(&[b'a'; 400]) {
    Ok(text) => text,
    Err(_) => "",
};

/// A setting by number.
pub(crate) fn setting(choice: u8) -> [u8; 6] {
    let name = u16::from(choice & 7);
    let value = [0_u32, 1, 10, 100, 16_384, 65_535, 100_000, 0x7fff_ffff][usize::from(choice >> 3 & 7)];
    let [a, b] = name.to_be_bytes();
    let [c, d, e, f] = value.to_be_bytes();
    [a, b, c, d, e, f]
}

/// A response's start by number; each says that it is the application's.
pub(crate) fn start_of(choice: u8, stream: u32) -> ResponseStart {
    let status = [200, 204, 304, 404][usize::from(choice & 3)];
    let mut fields = vec![("x-app", stream.to_string())];
    match choice >> 2 & 7 {
        0 => fields.push(("content-length", "10".to_owned())),
        1 => fields.push(("content-length", "100".to_owned())),
        2 => fields.push(("connection", "close".to_owned())),
        3 => fields.push(("transfer-encoding", "chunked".to_owned())),
        4 => fields.push(("set-cookie", "secret".to_owned())),
        _ => {}
    }
    ResponseStart { status, headers: Headers::from_iter(fields).expect("fields"), trailers: choice & 32 != 0 }
}
