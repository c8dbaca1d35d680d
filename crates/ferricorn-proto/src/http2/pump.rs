//! What waits goes out: as windows allow (RFC 9113 section 5.2), while there is room, the most urgent first (RFC 9218
//! section 10). This file knows nothing of what the bytes are.

use std::fs::File;

use asgi::Gather;

use super::closing::Fate;
use super::frame::{self, END_STREAM};
use super::output::ROOM;
use super::stream::{End, Stream};
use super::{Connection, Now};
use crate::transmit::{Content, LARGE};

/// A part of a file that a stream is to send.
#[derive(Debug)]
pub struct FileWanted<'a> {
    /// The stream's number.
    pub stream: u32,
    /// The file.
    pub file: &'a File,
    /// Where to read on.
    pub offset: u64,
    /// How many bytes are left of it.
    pub remaining: u64,
    /// How many of them can be taken now: one or more.
    pub most: usize,
}

impl<B: AsRef<[u8]>, G: Gather> Connection<B, G> {
    /// Sends a part of a body, the last or not: at once where it is small and nothing stands in its way.
    pub(super) fn send_content(&mut self, slot: usize, content: Content<B>, size: u64, last: bool) {
        let stream = &mut self.streams[slot];
        let window = stream.window.min(self.send_window);
        match content {
            Content::Bytes(bytes)
                if size < LARGE as u64
                    && size as i64 <= window
                    && !stream.queued
                    && matches!(stream.end, End::Open)
                    && self.transmit.len() < ROOM
                    && (size > 0 || last) =>
            {
                stream.window -= size as i64;
                self.send_window -= size as i64;
                let (id, flags) = (stream.id, if last { END_STREAM } else { 0 });
                let bytes = &bytes.as_ref()[..size as usize];
                self.transmit.append(|buffer| frame::write(buffer, frame::DATA, flags, id, bytes));
                self.bounds.forgive_for_data();
                if last {
                    self.end_local(slot);
                }
            }
            content => {
                if last {
                    stream.end = End::Stream;
                }
                if size > 0 {
                    stream.unsent.push(content);
                }
                self.enqueue(slot);
            }
        }
    }

    /// Has a stream send what it has.
    pub(super) fn enqueue(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        if stream.has_output() && !std::mem::replace(&mut stream.queued, true) {
            self.ready.push(slot as u32);
        }
    }

    pub(super) fn dequeue(&mut self, slot: usize) {
        if std::mem::take(&mut self.streams[slot].queued) {
            self.ready.retain(|&ready| ready as usize != slot);
        }
    }

    pub(super) fn after_output(&mut self, now: &Now<'_>) {
        if !self.ready.is_empty() {
            self.pump(now);
        }
        self.settle_connection();
        self.note_waiting(now);
    }

    /// Frames what may go.
    pub(super) fn pump(&mut self, now: &Now<'_>) {
        // Behind the last GOAWAY nothing is said.
        if self.fate != Fate::Open {
            return;
        }
        while !self.ready.is_empty() && self.transmit.len() < ROOM {
            let Some(slot) = self
                .next_ready(|stream, is_open| stream.unsent.is_empty() || is_open && stream.unsent.in_memory(1) > 0)
            else {
                break;
            };
            self.frame_next(slot);
        }
        self.note_held_back(now);
    }

    /// The most urgent of those that may send, of which is told whether the windows are open (RFC 9218 section 10): those that are not incremental in the order of their
    /// numbers, the others by turns, and they as one of them.
    fn next_ready(&self, may_send: impl Fn(&Stream<B, G>, bool) -> bool) -> Option<usize> {
        let is_open = self.send_window > 0;
        let key = |stream: &Stream<B, G>| {
            let urgency = stream.priority.urgency;
            let turn = if stream.priority.incremental { stream.turn } else { self.turns[usize::from(urgency)] };
            (urgency, turn, stream.id)
        };
        let candidates = self.ready.iter().map(|&slot| slot as usize).filter(|&slot| {
            let stream = &self.streams[slot];
            may_send(stream, is_open && stream.window > 0)
        });
        candidates.min_by_key(|&slot| key(&self.streams[slot]))
    }

    /// Frames the next bytes of a stream, or its end.
    fn frame_next(&mut self, slot: usize) {
        let most = self.max_frame();
        let stream = &mut self.streams[slot];
        if stream.unsent.is_empty() {
            return self.frame_end(slot);
        }
        let window = usize::try_from(stream.window.min(self.send_window)).unwrap_or_default();
        let size = stream.unsent.in_memory(most.min(window));
        let is_all = size as u64 == stream.unsent.len();
        let last = is_all && matches!(stream.end, End::Stream);
        let head = frame::head(size, frame::DATA, if last { END_STREAM } else { 0 }, stream.id);
        self.transmit.append(|buffer| buffer.extend_from_slice(&head));
        stream.unsent.move_to(&mut self.transmit, size);
        self.sent(slot, size);
        if last {
            self.dequeue(slot);
            self.end_local(slot);
        } else if is_all {
            self.frame_end(slot);
        }
    }

    /// So many bytes of a stream have been framed.
    fn sent(&mut self, slot: usize, size: usize) {
        self.turn += 1;
        self.send_window -= size as i64;
        let stream = &mut self.streams[slot];
        stream.window -= size as i64;
        stream.window_due = None;
        stream.turn = self.turn;
        if !stream.priority.incremental {
            self.turns[usize::from(stream.priority.urgency)] = self.turn;
        }
        self.bounds.forgive_for_data();
        self.note_changed(slot);
    }

    /// All bytes are framed: what comes behind them.
    fn frame_end(&mut self, slot: usize) {
        self.dequeue(slot);
        let max = self.max_frame();
        let stream = &mut self.streams[slot];
        let id = stream.id;
        match std::mem::replace(&mut stream.end, End::Open) {
            End::Open => return,
            End::Stream => self.transmit.append(|buffer| frame::write(buffer, frame::DATA, END_STREAM, id, &[])),
            End::Trailers(trailers) => {
                let encoder = &mut self.encoder;
                self.transmit.append(|buffer| {
                    frame::write_headers(buffer, id, true, max, |buffer| encoder.encode(trailers.iter(), buffer));
                });
            }
            End::Reset(code) => return self.reset(slot, code),
        }
        self.end_local(slot);
    }

    /// The peer has so long to open the windows that hold responses back.
    fn note_held_back(&mut self, now: &Now<'_>) {
        let is_shut = self.send_window <= 0;
        let due = Some(now.instant + self.limits.response);
        let mut is_noted = false;
        for &slot in &self.ready {
            let stream = &mut self.streams[slot as usize];
            if stream.window_due.is_none() && (is_shut || stream.window <= 0) && !stream.unsent.is_empty() {
                stream.window_due = due;
                is_noted = true;
            }
        }
        if is_noted {
            self.note_due(due);
        }
    }

    /// What a driver is to read next from a file, for [`supply_file`](Self::supply_file), of a stream that `may_go`. None:
    /// no file is next, or windows or what waits to be written have no room for it.
    pub fn file_wanted(&self, may_go: impl Fn(u32) -> bool) -> Option<FileWanted<'_>> {
        if self.ready.is_empty() {
            return None;
        }
        let room = ROOM.checked_sub(self.transmit.len()).filter(|&room| room > 0)?;
        let slot = self.next_ready(|stream, is_open| is_open && stream.unsent.file().is_some() && may_go(stream.id))?;
        let stream = &self.streams[slot];
        let (file, offset, remaining) = stream.unsent.file()?;
        let window = u64::try_from(stream.window.min(self.send_window)).unwrap_or_default();
        let most = remaining.min(window).min(room) as usize;
        Some(FileWanted { stream: stream.id, file, offset, remaining, most })
    }

    /// Whether a file is what this stream sends next.
    pub fn sends_file(&self, stream: u32) -> bool {
        self.streams.find(stream).is_some_and(|slot| self.streams[slot].unsent.file().is_some())
    }

    /// The bytes that [`file_wanted`](Self::file_wanted) asked for, or fewer. None at all: the file has become shorter than
    /// it was, and the response cannot be completed.
    pub fn supply_file(&mut self, stream: u32, bytes: &[u8], now: &Now<'_>) {
        let Some(slot) = self.streams.find(stream) else { return };
        let Some((_, _, remaining)) = self.streams[slot].unsent.file() else { return };
        if bytes.is_empty() {
            self.streams[slot].exchange.disconnect();
            self.reset(slot, super::ErrorCode::InternalError);
            return self.after_output(now);
        }
        let bytes = &bytes[..bytes.len().min(remaining as usize)];
        let most = self.max_frame();
        for part in bytes.chunks(most) {
            let stream = &mut self.streams[slot];
            stream.unsent.consume(part.len());
            let last = stream.unsent.is_empty() && matches!(stream.end, End::Stream);
            let (id, flags) = (stream.id, if last { END_STREAM } else { 0 });
            self.transmit.append(|buffer| frame::write(buffer, frame::DATA, flags, id, part));
            self.sent(slot, part.len());
            if last {
                self.dequeue(slot);
                self.end_local(slot);
            }
        }
        self.after_output(now);
    }
}
