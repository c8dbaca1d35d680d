//! The Python stack of another thread, had without the interpreter lock: by a signal to that thread, whose handler is that
//! of Python's `faulthandler` and writes the stack to us. It needs neither the lock nor memory.
//!
//! Each dump has a signal of its own, one that had no handler, so no two servers of a process share anything. It does not
//! know what the stack is wanted for.

use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyDict;

use crate::ffi::{self, SignalledThread};

/// How long a thread may take to begin; one that waits for the disk or has the signal masked does not.
const BEGIN: Duration = Duration::from_millis(250);

/// A stack that nothing was added to for so long is complete: its end has no mark.
const QUIET: Duration = Duration::from_millis(20);

/// More than `faulthandler` writes: 100 frames.
const LARGEST: usize = 128 * 1024;

/// Held while a signal is chosen and taken, so that no two servers choose the same.
static CHOOSING: Mutex<()> = Mutex::new(());

/// A signal that has a thread write down its stack.
pub(crate) struct Dump {
    signal: i32,
    /// The address of the handler as it should be.
    handler: usize,
    output: UnixStream,
    /// What the handler writes to, by its descriptor.
    input: UnixStream,
}

impl Dump {
    /// None where there is no signal to be had.
    ///
    /// # Errors
    /// Where the system or `faulthandler` refuses.
    pub(crate) fn new(py: Python<'_>) -> PyResult<Option<Self>> {
        let (output, input) = UnixStream::pair()?;
        // Never make the thread wait.
        input.set_nonblocking(true)?;
        output.set_read_timeout(Some(QUIET))?;
        let register = py.import("faulthandler")?.getattr("register")?;
        let options = PyDict::new(py);
        options.set_item("file", input.as_raw_fd())?;
        options.set_item("all_threads", false)?;
        let _choosing = CHOOSING.lock_py_attached(py);
        let Some(signal) = ffi::unused_signal() else { return Ok(None) };
        register.call((signal,), Some(&options))?;
        Ok(Some(Self { signal, handler: ffi::signal_handler(signal), output, input }))
    }

    /// Whether nobody has taken the signal for something else.
    fn is_ours(&self) -> bool {
        ffi::signal_handler(self.signal) == self.handler
    }

    /// What `faulthandler` has written of the thread: one line a frame, the innermost first. None where it wrote nothing
    /// in time.
    pub(crate) fn take(&self, thread: SignalledThread) -> Option<String> {
        if !self.is_ours() {
            return None;
        }
        // What came too late the last time.
        self.read(Instant::now());
        if !thread.signal(self.signal) {
            return None;
        }
        let text = self.read(Instant::now() + BEGIN);
        (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
    }

    /// What comes until it is quiet; where nothing comes, until `deadline`.
    fn read(&self, deadline: Instant) -> Vec<u8> {
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        while text.len() < LARGEST {
            match (&self.output).read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) if text.is_empty() && Instant::now() < deadline => (),
                Err(_) => break,
            }
        }
        text
    }

    /// Gives the signal back. Nobody may be about to send it.
    pub(crate) fn release(self, py: Python<'_>) -> PyResult<()> {
        if self.is_ours() {
            // Its default would end the process, should one still be on its way.
            ffi::ignore_signal(self.signal);
            py.import("faulthandler")?.call_method1("unregister", (self.signal,))?;
        }
        drop(self.input);
        Ok(())
    }
}
