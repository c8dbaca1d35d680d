//! A thread that writes finished lines, so that whoever makes them does not wait for a disk, a pipe or a terminal. It knows
//! neither what a line says nor who made it.
//!
//! At rest a line wakes the thread, and is written at once. Then the thread waits a little before it looks again, so at
//! load one write carries the lines of [`PAUSE`]. What waits is bounded: whoever made too much waits for room.
//!
//! What is guaranteed where several processes write to the same place: a write carries whole lines.
//! - A file: all that waits is one write. The kernel writes it in one piece where the file was opened for appending, or
//!   where the processes have inherited one open file from each other, as workers have.
//! - A pipe or a socket: a write is no longer than [`PIPE_BUF`], which POSIX promises not to mix with others (pipes alone;
//!   Linux keeps to it for local sockets too). A single line that is longer may be mixed with others.
//! - A terminal: as a file, as far as the kernel does not cut a write.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

/// How long the thread lets lines gather after a write.
const PAUSE: Duration = Duration::from_millis(10);

/// So many bytes are written before the pause is over.
const EARLY: usize = 64 * 1024;

/// Above this many waiting bytes there is no room for more.
const CAPACITY: usize = 1024 * 1024;

/// How much memory is kept for the next lines.
const KEPT: usize = 4 * EARLY;

/// The longest write to a pipe that is not mixed with others.
const PIPE_BUF: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// How long [`LogWriter::close`] waits without seeing a byte go.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 2_000 } else { 5_000 });

/// How often who waits looks around.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Writes lines to a descriptor on a thread of its own, which begins with the first line.
pub struct LogWriter(Arc<Shared>);

struct Shared {
    target: Target,
    lines: Mutex<Lines>,
    /// Something is to be done.
    work: Condvar,
    /// Something has been done.
    done: Condvar,
    /// Bytes that went.
    written: AtomicU64,
    /// Whether there is something to tell.
    failed: AtomicBool,
}

enum Target {
    Stdout,
    Descriptor(OwnedFd),
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout => rustix::stdio::stdout(),
            Self::Descriptor(descriptor) => descriptor.as_fd(),
        }
    }
}

#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    /// The process whose thread it is: a fork has none.
    owner: Option<u32>,
    /// The thread waits for work, however long it takes.
    idle: bool,
    /// The thread lets lines gather.
    pausing: bool,
    writing: bool,
    closed: bool,
    /// The last write failed.
    failing: bool,
    /// Lines that were dropped since writing failed.
    lost: u64,
    problem: Option<String>,
}

impl Lines {
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && !self.writing
    }

    fn is_ours(&self) -> bool {
        self.owner == Some(std::process::id())
    }
}

impl LogWriter {
    /// Writes to the process's standard output, whatever that is at the moment of a write.
    pub fn to_stdout() -> Self {
        Self::new(Target::Stdout)
    }

    /// Writes to this descriptor.
    pub fn to_descriptor(descriptor: OwnedFd) -> Self {
        Self::new(Target::Descriptor(descriptor))
    }

    fn new(target: Target) -> Self {
        Self(Arc::new(Shared {
            target,
            lines: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            written: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }))
    }

    /// Takes whole lines over. False: there is no room for more, and [`LogWriter::wait_for_room`] is to be called.
    pub fn append(&self, lines: &[u8]) -> bool {
        let mut state = self.0.lock();
        state.waiting.extend_from_slice(lines);
        if state.owner.is_none() && !state.closed {
            self.begin(&mut state);
        }
        let length = state.waiting.len();
        if state.owner.is_none() || state.closed {
            // No thread could be had, or it has ended.
            self.write_here(&mut state);
            return true;
        }
        let early = length >= EARLY && std::mem::take(&mut state.pausing);
        let wakes = std::mem::take(&mut state.idle) || early;
        drop(state);
        if wakes {
            self.0.work.notify_one();
        }
        length <= CAPACITY
    }

    fn begin(&self, state: &mut Lines) {
        let shared = Arc::clone(&self.0);
        let builder = thread::Builder::new().name("ferricorn-log".to_owned());
        if builder.spawn(move || shared.run()).is_ok() {
            state.owner = Some(std::process::id());
        }
    }

    fn write_here(&self, state: &mut Lines) {
        let batch = std::mem::take(&mut state.waiting);
        let result = self.0.write(&batch, state.failing);
        state.note(&batch, result, &self.0.failed);
    }

    /// Whether nothing waits to be written: what is appended next begins a batch.
    pub fn is_empty(&self) -> bool {
        self.0.lock().waiting.is_empty()
    }

    /// Waits until there is room for more.
    pub fn wait_for_room(&self) {
        let mut state = self.0.lock();
        while state.waiting.len() > CAPACITY / 2 && state.is_ours() && !state.closed {
            state = self.0.wait_done(state);
        }
    }

    /// Waits until everything has been written, as long as bytes go. False: what is left cannot be.
    pub fn flush(&self) -> bool {
        let mut state = self.0.lock();
        if state.owner.is_some() && !state.is_ours() {
            return true;
        }
        let (mut written, mut looks) = (self.0.written.load(Ordering::Relaxed), Duration::ZERO);
        while !state.is_done() && looks < PATIENCE {
            (state.idle, state.pausing) = (false, false);
            self.0.work.notify_one();
            state = self.0.wait_done(state);
            looks += LOOK_EVERY;
            let now = self.0.written.load(Ordering::Relaxed);
            if now != written {
                (written, looks) = (now, Duration::ZERO);
            }
        }
        state.is_done()
    }

    /// Writes everything and ends the thread. Idempotent. False: what was left could not be written.
    pub fn close(&self) -> bool {
        let flushed = self.flush();
        let mut state = self.0.lock();
        if !flushed && !state.closed {
            let lost = count_lines(&state.waiting);
            state.waiting.clear();
            state.problem =
                Some(format!("Cannot write the access log: nobody takes it; {lost} lines or more are lost."));
            self.0.failed.store(true, Ordering::Release);
        }
        state.closed = true;
        drop(state);
        self.0.work.notify_one();
        flushed
    }

    /// What went wrong since the last look, as a sentence. Costs next to nothing where nothing did.
    pub fn take_problem(&self) -> Option<String> {
        if !self.0.failed.load(Ordering::Acquire) {
            return None;
        }
        self.0.failed.store(false, Ordering::Relaxed);
        self.0.lock().problem.take()
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

impl Lines {
    /// Takes down how a write went: once when it begins to fail, once when it goes again.
    fn note(&mut self, batch: &[u8], result: Result<(), (usize, io::Error)>, failed: &AtomicBool) {
        match result {
            Ok(()) if !self.failing => return,
            Ok(()) => {
                self.failing = false;
                let lost = std::mem::take(&mut self.lost);
                self.problem = Some(format!("The access log is written again; {lost} lines are lost."));
            }
            Err((written, error)) => {
                self.lost += count_lines(&batch[written..]);
                if std::mem::replace(&mut self.failing, true) {
                    return;
                }
                self.problem =
                    Some(format!("Cannot write the access log: {error}. Lines are lost until it can be written."));
            }
        }
        failed.store(true, Ordering::Release);
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_done<'a>(&self, state: MutexGuard<'a, Lines>) -> MutexGuard<'a, Lines> {
        let waited = self.done.wait_timeout(state, LOOK_EVERY);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn run(&self) {
        let mut batch = Vec::new();
        while let Some(failing) = self.next(&mut batch) {
            // Whoever waits for room may go on while these are written.
            self.done.notify_all();
            let result = self.write(&batch, failing);
            let mut state = self.lock();
            state.note(&batch, result, &self.failed);
            state.writing = false;
            self.done.notify_all();
            batch.clear();
            batch.shrink_to(KEPT);
            self.pause(state);
        }
    }

    /// Waits for lines and takes them; None: there will be no more. Says whether the last write failed.
    fn next(&self, batch: &mut Vec<u8>) -> Option<bool> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closed {
            state.idle = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        std::mem::swap(batch, &mut state.waiting);
        state.writing = !batch.is_empty();
        state.writing.then_some(state.failing)
    }

    fn pause(&self, mut state: MutexGuard<'_, Lines>) {
        state.pausing = !state.closed && state.waiting.len() < EARLY;
        let go_on = self.work.wait_timeout_while(state, PAUSE, |state| state.pausing && !state.closed);
        go_on.unwrap_or_else(PoisonError::into_inner).0.pausing = false;
    }

    /// Writes all of it. After a failure, which may have cut a line, a new one is begun.
    fn write(&self, batch: &[u8], failing: bool) -> Result<(), (usize, io::Error)> {
        let target = self.target.as_fd();
        let longest = longest_write(target);
        if failing {
            self.write_piece(target, b"\n").map_err(|(_, error)| (0, error))?;
        }
        let mut rest = batch;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(whole_lines(rest, longest));
            let ahead = batch.len() - rest.len();
            self.write_piece(target, piece).map_err(|(written, error)| (ahead + written, error))?;
            rest = behind;
        }
        Ok(())
    }

    fn write_piece(&self, target: BorrowedFd<'_>, piece: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < piece.len() {
            match rustix::io::write(target, &piece[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.written.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(Errno::INTR) => {}
                // Somebody has made it non-blocking.
                Err(Errno::AGAIN) => wait_writable(target),
                Err(error) => return Err((written, error.into())),
            }
        }
        Ok(())
    }
}

fn wait_writable(target: BorrowedFd<'_>) {
    let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
    // Whatever comes of it, the next write will tell.
    let _ = poll(&mut [PollFd::new(&target, PollFlags::OUT)], Some(&timeout));
}

/// How many bytes of whole lines a write to this place may have.
fn longest_write(target: BorrowedFd<'_>) -> usize {
    let kind = fstat(target).map(|status| FileType::from_raw_mode(status.st_mode));
    match kind {
        Ok(FileType::Fifo | FileType::Socket) => PIPE_BUF,
        _ => usize::MAX,
    }
}

/// How many bytes at the front of `lines`, which end with a line end, are whole lines and at most `longest`; one line at the
/// least.
fn whole_lines(lines: &[u8], longest: usize) -> usize {
    if lines.len() <= longest {
        return lines.len();
    }
    let fits = lines[..longest].iter().rposition(|&byte| byte == b'\n');
    let end = fits.or_else(|| lines.iter().position(|&byte| byte == b'\n'));
    end.map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, pipe};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn lines(from: usize, to: usize) -> Vec<u8> {
        (from..to).flat_map(|number| format!("line {number}\n").into_bytes()).collect()
    }

    #[test]
    fn a_line_at_rest_is_written_at_once_and_the_next_ones_too() {
        let (mut reader, writer) = pipe().unwrap();
        let log = LogWriter::to_descriptor(writer.into());
        for number in 0..3 {
            assert!(log.append(&lines(number, number + 1)));
            let mut read = [0; 7];
            // Nothing else brings it: no flush, no close.
            reader.read_exact(&mut read).unwrap();
            assert_eq!(read, *lines(number, number + 1));
        }
        assert_eq!(log.take_problem(), None);
    }

    #[test]
    fn what_was_taken_is_written_when_close_returns() {
        let (mut reader, writer) = pipe().unwrap();
        let log = LogWriter::to_descriptor(writer.into());
        for number in 0..500 {
            log.append(&lines(number, number + 1));
        }
        assert!(log.close() && log.close());
        // What comes late is written there and then.
        log.append(&lines(500, 501));
        drop(log);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, lines(0, 501));
    }

    #[test]
    fn a_write_to_a_socket_is_whole_lines_and_short() {
        let (reader, writer) = UnixDatagram::pair().unwrap();
        let log = LogWriter::to_descriptor(writer.into());
        let mut sent = lines(0, 2_000);
        sent.extend([b'x'; 6_000]);
        sent.push(b'\n');
        sent.extend(lines(2_000, 2_010));
        log.append(&sent);
        let (mut all, mut datagram) = (Vec::new(), vec![0; 65_536]);
        while all.len() < sent.len() {
            let length = reader.recv(&mut datagram).unwrap();
            let write = &datagram[..length];
            assert_eq!(write.last(), Some(&b'\n'));
            assert!(length <= PIPE_BUF || count_lines(write) == 1, "{length}");
            all.extend_from_slice(write);
        }
        assert_eq!(all, sent);
    }

    #[test]
    fn who_made_too_much_waits_and_nothing_is_lost() {
        let (mut reader, writer) = pipe().unwrap();
        let log = LogWriter::to_descriptor(writer.into());
        let batch = lines(10_000, 20_000);
        let mut appended = 1;
        while log.append(&batch) {
            appended += 1;
        }
        assert!(appended < 40, "a pipe that nobody reads takes {appended} batches");
        let read = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        log.wait_for_room();
        assert!(log.0.lock().waiting.len() <= CAPACITY / 2);
        drop(log);
        assert_eq!(read.join().unwrap().unwrap(), batch.repeat(appended));
    }

    #[test]
    fn a_descriptor_that_does_not_block_is_waited_for() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let log = LogWriter::to_descriptor(writer.into());
        let batch = lines(0, 100_000);
        log.append(&batch);
        let read = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        assert!(log.close());
        assert_eq!(log.take_problem(), None);
        drop(log);
        assert_eq!(read.join().unwrap().unwrap(), batch);
    }

    #[test]
    fn what_cannot_be_written_is_told_once() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        for target in [writer.into(), File::options().write(true).open("/dev/full").unwrap().into()] {
            let log = LogWriter::to_descriptor(target);
            log.append(b"a line\n");
            log.flush();
            let problem = log.take_problem().unwrap();
            assert!(problem.starts_with("Cannot write the access log: "), "{problem}");
            log.append(b"another\n");
            log.flush();
            assert_eq!(log.take_problem(), None);
            assert_eq!(log.0.lock().lost, 2);
            assert!(log.close());
        }
    }

    #[test]
    fn that_it_goes_again_is_told_with_what_was_lost() {
        let (mut state, failed) = (Lines::default(), AtomicBool::new(false));
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        state.note(b"a\nb\nc\n", Err((3, full())), &failed);
        assert!(failed.swap(false, Ordering::Relaxed) && state.problem.take().is_some());
        state.note(b"d\n", Err((0, full())), &failed);
        assert!(state.problem.is_none());
        state.note(b"e\n", Ok(()), &failed);
        assert_eq!(state.problem.as_deref(), Some("The access log is written again; 3 lines are lost."));
        assert!(failed.load(Ordering::Relaxed));
    }

    #[test]
    fn closing_does_not_wait_for_ever() {
        let (reader, writer) = pipe().unwrap();
        let log = LogWriter::to_descriptor(writer.into());
        while log.append(&lines(0, 10_000)) {}
        assert!(!log.close());
        assert!(log.take_problem().unwrap().contains("nobody takes it"));
        drop(reader);
    }

    #[test]
    fn pieces_are_whole_lines() {
        assert_eq!(whole_lines(b"ab\ncd\n", 100), 6);
        assert_eq!(whole_lines(b"ab\ncd\n", 5), 3);
        assert_eq!(whole_lines(b"ab\ncd\n", 3), 3);
        assert_eq!(whole_lines(b"abcd\ne\n", 3), 5);
        assert_eq!(whole_lines(b"abcd", 3), 4);
    }
}
