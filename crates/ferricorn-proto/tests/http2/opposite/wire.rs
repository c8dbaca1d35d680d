//! Bytes on their way between both ends, cut as a test wants. This file knows nothing of what they say.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How bytes are cut.
#[derive(Clone, Copy, Debug)]
pub enum Chops {
    Whole,
    /// One by one.
    Single,
    /// Anyhow, by this seed: mostly a few at once, and now and then many.
    Random(u64),
}

impl Chops {
    /// So many bytes, or what takes as long where they come one by one.
    pub fn scale(self, length: usize) -> usize {
        if matches!(self, Self::Single) { length / 50 } else { length }
    }
}

/// Says where the next cut is.
#[derive(Debug)]
pub struct Cutter {
    chops: Chops,
    state: u64,
}

impl Cutter {
    pub fn new(chops: Chops) -> Self {
        let state = if let Chops::Random(seed) = chops { seed | 1 } else { 1 };
        Self { chops, state }
    }

    /// How many of so many bytes go together; one at least.
    pub fn cut(&mut self, length: usize) -> usize {
        match self.chops {
            Chops::Whole => length,
            Chops::Single => 1,
            Chops::Random(_) => {
                // xorshift64
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                let most = [3, 20, 300, 5000, 50_000][(self.state >> 8) as usize % 5];
                (1 + (self.state >> 20) as usize % most).min(length)
            }
        }
    }
}

/// Both directions.
#[derive(Debug)]
pub struct Wire {
    pub to_server: VecDeque<u8>,
    pub to_client: VecDeque<u8>,
    pub cutter: Cutter,
    /// The client writes no more, or the server.
    pub client_ended: bool,
    pub server_ended: bool,
    /// Nothing reaches the client.
    pub is_held: bool,
    /// Bytes that have moved: whether anything goes on.
    pub moved: u64,
    reader: Option<Waker>,
}

impl Wire {
    pub fn new(chops: Chops) -> Self {
        Self {
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            cutter: Cutter::new(chops),
            client_ended: false,
            server_ended: false,
            is_held: false,
            moved: 0,
            reader: None,
        }
    }

    /// The next bytes for the server.
    pub fn take(&mut self) -> Vec<u8> {
        let length = self.to_server.len();
        let taken = if length == 0 { 0 } else { self.cutter.cut(length) };
        self.moved += taken as u64;
        split(&mut self.to_server, taken)
    }

    /// Bytes of the server's.
    pub fn give(&mut self, bytes: &[u8]) {
        self.moved += bytes.len() as u64;
        self.to_client.extend(bytes);
        self.wake();
    }

    pub fn end(&mut self) {
        self.server_ended = true;
        self.wake();
    }

    /// From now on bytes reach the client again.
    pub fn let_go(&mut self) {
        self.is_held = false;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

/// The first `length` bytes.
fn split(bytes: &mut VecDeque<u8>, length: usize) -> Vec<u8> {
    let (first, second) = bytes.as_slices();
    let taken = match first.get(..length) {
        Some(taken) => taken.to_vec(),
        None => [first, &second[..length - first.len()]].concat(),
    };
    bytes.drain(..length);
    taken
}

/// The client's end.
#[derive(Clone, Debug)]
pub struct End(pub Rc<RefCell<Wire>>);

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self.0.borrow_mut();
        let length = wire.to_client.len().min(buffer.remaining());
        if wire.is_held {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if length > 0 {
            let taken = wire.cutter.cut(length);
            wire.moved += taken as u64;
            buffer.put_slice(&split(&mut wire.to_client, taken));
        } else if !wire.server_ended {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &mut *self.0.borrow_mut();
        let taken = if bytes.is_empty() { 0 } else { wire.cutter.cut(bytes.len()) };
        wire.moved += taken as u64;
        wire.to_server.extend(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().client_ended = true;
        Poll::Ready(Ok(()))
    }
}
