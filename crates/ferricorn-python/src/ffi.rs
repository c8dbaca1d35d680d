//! All unsafe code of the workspace: each block with the reason why it is sound. It takes no decision.

mod callable;
mod growing_bytes;

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyList};

pub(crate) use callable::{Callable, CallableType, Iterated, shorten};
pub(crate) use growing_bytes::GrowingBytes;

/// A value that only the thread which made it can reach.
///
/// Python may move an object to any thread; what the worker shares among its objects is not made for that. Another
/// thread gets an error (CON-11), and where it drops the last reference the value is leaked.
pub(crate) struct ThreadBound<T> {
    value: ManuallyDrop<T>,
    owner: libc::pthread_t,
}

// SAFETY: `get` and `drop` reach the value on the thread that made it alone, so it is never used on two threads.
unsafe impl<T> Send for ThreadBound<T> {}
// SAFETY: as above; `&ThreadBound` gives no way to the value on another thread.
unsafe impl<T> Sync for ThreadBound<T> {}

/// What tells the threads that live apart, for less than their ids cost, or an address of memory of their own.
fn this_thread() -> libc::pthread_t {
    // SAFETY: takes nothing, changes nothing, cannot fail.
    unsafe { libc::pthread_self() }
}

impl<T> ThreadBound<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), owner: this_thread() }
    }

    /// The value.
    ///
    /// # Errors
    /// RuntimeError on any other thread than the one that made it.
    pub(crate) fn get(&self) -> PyResult<&T> {
        if self.owner == this_thread() {
            return Ok(&self.value);
        }
        Err(PyRuntimeError::new_err("used from another thread than the one whose event loop serves the request"))
    }
}

impl<T> ThreadBound<T> {
    /// The value, on any thread, for as long as the interpreter lock is held.
    ///
    /// # Safety
    /// The interpreter must have its lock: on a free-threaded build, or in an interpreter of another lock, `py` keeps
    /// nobody out. `body` must not give the lock away.
    unsafe fn get_locked<R>(&self, py: Python<'_>, body: impl FnOnce(&T) -> R) -> R {
        let _ = py;
        body(&self.value)
    }
}

/// Runs `work` in a context, as the event loop does with its callbacks.
///
/// # Errors
/// RuntimeError where the context is entered already: then `work` has not run.
pub(crate) fn in_context<R>(context: &Bound<'_, PyAny>, work: impl FnOnce() -> R) -> PyResult<R> {
    let py = context.py();
    // SAFETY: the object is alive and the thread attached; what is no context makes the call fail with TypeError.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(PyErr::fetch(py));
    }
    let result = work();
    // SAFETY: as above; the context was entered on this thread, and whatever `work` entered it has left again.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        PyErr::fetch(py).write_unraisable(py, Some(context));
    }
    Ok(result)
}

/// Whether the interpreter has its lock: free-threaded builds may run without.
pub(crate) fn has_lock(py: Python<'_>) -> PyResult<bool> {
    match py.import("sys")?.getattr_opt("_is_gil_enabled")? {
        Some(enabled) => enabled.call0()?.is_truthy(),
        None => Ok(true),
    }
}

/// How many references to the object there are; exact under the interpreter lock.
pub(crate) fn reference_count(object: &Bound<'_, impl Sized>) -> ffi::Py_ssize_t {
    // SAFETY: the object is alive, and the thread attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// Whether the list has exactly these objects, in this order.
pub(crate) fn has_items(list: &Bound<'_, PyList>, objects: &[Py<PyAny>]) -> bool {
    // SAFETY: the list is alive, and its length is compared before an item is read; nothing here runs Python code, which
    // could change it.
    list.len() == objects.len()
        && objects.iter().enumerate().all(|(index, object)| unsafe {
            ffi::PyList_GET_ITEM(list.as_ptr(), index as ffi::Py_ssize_t) == object.as_ptr()
        })
}

/// Gives `look` every key and value that a dict has: in one walk, without pyo3's watch over changes meanwhile.
pub(crate) fn for_each_item<'py>(
    dict: &Bound<'py, PyDict>,
    mut look: impl FnMut(Bound<'py, PyAny>, Bound<'py, PyAny>),
) {
    with_critical_section(dict, || {
        let (py, mut position) = (dict.py(), 0);
        for _ in 0..dict.len() {
            let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
            // SAFETY: the dict is alive, and locked where there is no interpreter lock. A position is good for any dict, so
            // also where `look` changes this one; key and value are counted before that could free them.
            let item = unsafe {
                if ffi::PyDict_Next(dict.as_ptr(), &mut position, &mut key, &mut value) == 0 {
                    return;
                }
                (Bound::from_borrowed_ptr(py, key), Bound::from_borrowed_ptr(py, value))
            };
            look(item.0, item.1);
        }
    });
}

/// What a dict has in it, to see later whether that is so still.
#[derive(Default)]
pub(crate) struct Items(Vec<(Py<PyAny>, Py<PyAny>)>);

impl Items {
    pub(crate) fn of(dict: &Bound<'_, PyDict>) -> Self {
        Self(dict.iter().map(|(key, value)| (key.unbind(), value.unbind())).collect())
    }

    /// Whether the dict has these objects under these keys, in this order, and no others.
    pub(crate) fn are_all_of(&self, dict: &Bound<'_, PyDict>) -> bool {
        let mut position = 0;
        let is_next = |(own_key, own_value): &(Py<PyAny>, Py<PyAny>)| {
            let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
            // SAFETY: the dict is alive and the position its own; the pointers are compared and never followed.
            let more = unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut position, &mut key, &mut value) };
            more != 0 && key == own_key.as_ptr() && value == own_value.as_ptr()
        };
        dict.len() == self.0.len() && self.0.iter().all(is_next)
    }
}

/// A value that other threads may look at while they hold the interpreter lock.
pub(crate) struct LockBound<T>(ThreadBound<T>);

impl<T> LockBound<T> {
    /// None where the interpreter runs without its lock, or is not the main one.
    pub(crate) fn new(py: Python<'_>, value: T) -> PyResult<Option<Self>> {
        Ok(has_lock(py)?.then(|| Self(ThreadBound::new(value))))
    }

    /// Looks at the value; `body` must not call into Python, which might give the lock away.
    pub(crate) fn look<R>(&self, py: Python<'_>, body: impl FnOnce(&T) -> R) -> R {
        // SAFETY: `new` has seen to it that there is a lock, which `py` says is held; all code that reaches the value
        // runs with it held, so this thread is alone with the value, and sees what others have written before.
        unsafe { self.0.get_locked(py, body) }
    }
}

impl<T> Drop for ThreadBound<T> {
    fn drop(&mut self) {
        if self.owner == this_thread() {
            // SAFETY: the value is dropped here alone, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

/// A descriptor of our own for the file behind `fd`, which stays with whoever has it.
///
/// # Errors
/// OSError where there is no such descriptor.
pub(crate) fn duplicate_fd(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the duplicate is made through `ManuallyDrop`, so the caller's descriptor is neither owned nor closed
    // here; where it is not open, duplicating fails with EBADF.
    let borrowed = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd) });
    borrowed.try_clone()
}

/// How many seconds east of Greenwich the local time is at this unix time; 0 where nobody knows.
pub(crate) fn utc_offset(unix: i64) -> i32 {
    let mut broken_down = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are good for the call; the result is read only where it was written, which its return says.
    unsafe {
        if libc::localtime_r(&unix, broken_down.as_mut_ptr()).is_null() {
            return 0;
        }
        broken_down.assume_init().tm_gmtoff as i32
    }
}

/// A file in memory, of so many bytes, all zero, whose size nobody can change any more. Closed on exec.
#[cfg(target_os = "linux")]
pub(crate) fn memory_file(bytes: u64) -> io::Result<File> {
    // SAFETY: the name is a C string that outlives the call; what comes back is checked, and is ours.
    let file = unsafe {
        match libc::memfd_create(c"ferricorn-board".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) {
            -1 => return Err(io::Error::last_os_error()),
            fd => File::from_raw_fd(fd),
        }
    };
    file.set_len(bytes)?;
    // SAFETY: the descriptor is open, and the command takes a number.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(file),
    }
}

/// The memory of a file, shared with whoever has the file as well. It is never given back, so it can be used on any
/// thread for as long as the process lives.
///
/// # Errors
/// OSError where it cannot be mapped: an empty file, or one that is no file.
pub(crate) fn shared_memory(file: &File) -> io::Result<&'static [AtomicU64]> {
    let cells = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)? / size_of::<AtomicU64>();
    let (bytes, mode) = (cells * size_of::<AtomicU64>(), libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: the kernel picks the place, so nothing that is in use is mapped over; what comes back is checked.
    let address = unsafe { libc::mmap(ptr::null_mut(), bytes, mode, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping has as many bytes, begins at a page, and is never unmapped; all bits are a number, and whoever
    // else writes them, in this process or another, does so through atomics as well.
    Ok(unsafe { std::slice::from_raw_parts(address.cast::<AtomicU64>(), cells) })
}

/// Makes the C library's allocator keep what bodies of some hundred KiB need, instead of giving it back to the kernel and
/// fetching it again for each: an echo of 1 MiB costs a third with it. [`trim_heap`] gives it back when it is quiet.
pub(crate) fn keep_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` may be called at any time; it takes numbers and changes thresholds.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 8 * 1024 * 1024);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024 * 1024);
    }
}

/// Gives memory that the C library's allocator keeps back to the kernel.
pub(crate) fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` may be called at any time; it moves and frees nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What came of one step of a coroutine.
pub(crate) enum Step<'py> {
    /// It waits for this.
    Yielded(Bound<'py, PyAny>),
    Returned,
    Raised(PyErr),
}

/// Resumes a coroutine or iterator with None.
pub(crate) fn resume<'py>(coroutine: &Bound<'py, PyAny>) -> Step<'py> {
    let py = coroutine.py();
    let mut result = ptr::null_mut();
    // SAFETY: both objects are alive, and the thread is attached (`py`). On NEXT and RETURN `result` is a new
    // reference; on ERROR an exception is set.
    unsafe {
        match ffi::PyIter_Send(coroutine.as_ptr(), ffi::Py_None(), &mut result) {
            ffi::PySendResult::PYGEN_NEXT => Step::Yielded(Bound::from_owned_ptr(py, result)),
            ffi::PySendResult::PYGEN_RETURN => {
                drop(Bound::from_owned_ptr(py, result));
                Step::Returned
            }
            ffi::PySendResult::PYGEN_ERROR => Step::Raised(PyErr::fetch(py)),
        }
    }
}

/// Whether the object is a coroutine of an `async def`.
pub(crate) fn is_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the check reads the type of a live object.
    unsafe { ffi::Py_TYPE(object.as_ptr()) == &raw mut ffi::PyCoro_Type }
}

/// Makes the exception with which an iterator returns a value: the same one again, where the interpreter has dropped the
/// last. Making one each time costs as much as the rest of a `receive`.
pub(crate) struct Returning {
    exception: Py<PyAny>,
    /// Whether it pays: before Python 3.12 the interpreter makes no object of the exception unless somebody looks; and
    /// without its lock nobody knows who has the last one.
    again: bool,
    /// Whether it has a value.
    carries: Cell<bool>,
}

impl Returning {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let exception = py.get_type::<PyStopIteration>().call0()?.unbind();
        Ok(Self { exception, again: py.version_info() >= (3, 12) && has_lock(py)?, carries: Cell::new(false) })
    }

    /// The exception that carries `value`.
    pub(crate) fn carry(&self, value: Bound<'_, PyAny>) -> PyErr {
        let py = value.py();
        let exception = self.exception.bind(py);
        if !self.again || reference_count(exception) != 1 {
            // SAFETY: the thread is attached, both objects are alive; the exception is fetched again at once.
            unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr()) };
            return PyErr::fetch(py);
        }
        self.carries.set(true);
        self.set_value(py, value);
        PyErr::from_value(exception.clone())
    }

    /// Lets go of the last value. Called without the interpreter at hand, which takes time where there is nothing to do.
    pub(crate) fn clear(&self) {
        if !self.carries.get() {
            return;
        }
        Python::attach(|py| {
            if reference_count(self.exception.bind(py)) == 1 {
                self.carries.set(false);
                self.set_value(py, py.None().into_bound(py));
            }
        });
    }

    fn set_value(&self, py: Python<'_>, value: Bound<'_, PyAny>) {
        let exception = self.exception.as_ptr().cast::<ffi::PyStopIterationObject>();
        // SAFETY: the object is a StopIteration, since `new` made it one, and this thread, attached, is the only one that
        // has it; the field always has a reference, of which the new value takes the place before the old one is dropped.
        let before = unsafe {
            let before = ptr::replace(&raw mut (*exception).value, value.into_ptr());
            Bound::from_owned_ptr_or_opt(py, before)
        };
        drop(before);
    }
}

/// A thread, to be sent signals from others: by the kernel's number, which stays safe when the thread has ended.
#[derive(Clone, Copy)]
pub(crate) struct SignalledThread(i32);

impl SignalledThread {
    pub(crate) fn new(id: i32) -> Self {
        Self(id)
    }

    /// The one that calls.
    #[cfg(target_os = "linux")]
    pub(crate) fn current() -> Self {
        // SAFETY: takes nothing, changes nothing, cannot fail.
        Self(unsafe { libc::gettid() })
    }

    /// Sends it a signal. Whether it could be sent: not where the thread has ended.
    #[cfg(target_os = "linux")]
    pub(crate) fn signal(self, number: i32) -> bool {
        // SAFETY: by numbers alone, so it is sound for a thread that has ended too; what the signal does is decided by
        // who installed its handler.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.0, number) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn current() -> Self {
        Self(0)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn signal(self, _: i32) -> bool {
        false
    }
}

/// A signal that nobody handles, sends or gives a meaning: a real-time one, away from both ends of their range, which
/// other programs prefer. None but on Linux, where threads can be signalled by number.
pub(crate) fn unused_signal() -> Option<i32> {
    #[cfg(target_os = "linux")]
    let mut signals = (libc::SIGRTMIN() + 6..=libc::SIGRTMAX() - 3).rev();
    #[cfg(not(target_os = "linux"))]
    let mut signals = std::iter::empty();
    signals.find(|number| signal_handler(*number) == libc::SIG_DFL)
}

/// The address of the signal's handler.
pub(crate) fn signal_handler(number: i32) -> usize {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed, and the action is written to memory of its size; zeros are an action as well, should
    // the call fail.
    unsafe {
        libc::sigaction(number, ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction
    }
}

/// Has the signal be ignored, wherever it is still on its way to a thread too.
pub(crate) fn ignore_signal(number: i32) {
    // SAFETY: ignoring is no code that could run in a bad moment.
    unsafe { libc::signal(number, libc::SIG_IGN) };
}
