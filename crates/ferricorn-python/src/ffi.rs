//! All unsafe code of the workspace: each block with the reason why it is sound. It takes no decision.

use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::ffi;

/// A value that only the thread which made it can reach.
///
/// Python may move an object to any thread; what the worker shares among its objects is not made for that. Another
/// thread gets an error (CON-11), and where it drops the last reference the value is leaked.
pub(crate) struct ThreadBound<T> {
    value: ManuallyDrop<T>,
    owner: usize,
}

// SAFETY: `get` and `drop` reach the value on the thread that made it alone, so it is never used on two threads.
unsafe impl<T> Send for ThreadBound<T> {}
// SAFETY: as above; `&ThreadBound` gives no way to the value on another thread.
unsafe impl<T> Sync for ThreadBound<T> {}

thread_local! {
    /// Its address tells the threads that live apart, for less than their ids cost.
    static MARK: u8 = const { 0 };
}

fn this_thread() -> usize {
    MARK.with(|mark| ptr::from_ref(mark).addr())
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
pub(crate) fn duplicate_fd(fd: RawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: the duplicate is made through `ManuallyDrop`, so the caller's descriptor is neither owned nor closed
    // here; where it is not open, duplicating fails with EBADF.
    let borrowed = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd) });
    borrowed.try_clone()
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

/// The exception with which an iterator returns `value`.
pub(crate) fn stop_iteration(value: Bound<'_, PyAny>) -> PyErr {
    let py = value.py();
    // SAFETY: the thread is attached, both objects are alive; the exception is fetched again at once.
    unsafe { ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr()) };
    PyErr::fetch(py)
}

