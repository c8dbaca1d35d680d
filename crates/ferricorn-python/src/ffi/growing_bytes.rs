//! Bytes of Python that are written part by part, by CPython's own writer (PEP 782).

use std::ptr;

use pyo3::ffi;
use pyo3::ffi::compat::{
    PyBytesWriter, PyBytesWriter_Create, PyBytesWriter_Discard, PyBytesWriter_FinishWithSize, PyBytesWriter_GetData,
    PyBytesWriter_Resize,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// `bytes` that grow, before they are an object.
pub(crate) struct GrowingBytes {
    /// Null: there is nothing yet. Its size is the capacity, of which the first `length` bytes have been written.
    writer: *mut PyBytesWriter,
    length: usize,
    capacity: usize,
}

impl Default for GrowingBytes {
    fn default() -> Self {
        Self { writer: ptr::null_mut(), length: 0, capacity: 0 }
    }
}

impl GrowingBytes {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Makes room for so many more; where there was some, for twice as many, so that few steps lead far.
    pub(crate) fn reserve(&mut self, more: usize) {
        if self.length + more > self.capacity {
            Python::attach(|py| self.grow(py, (self.length + more).max(2 * self.capacity)));
        }
    }

    fn grow(&mut self, _: Python<'_>, capacity: usize) {
        let size = capacity as ffi::Py_ssize_t;
        // SAFETY: the lock is held, and the writer ours.
        let done = unsafe {
            if self.writer.is_null() {
                self.writer = PyBytesWriter_Create(size);
                !self.writer.is_null()
            } else {
                PyBytesWriter_Resize(self.writer, size) == 0
            }
        };
        assert!(done, "there is no memory for {capacity} bytes of a body");
        self.capacity = capacity;
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        if bytes.is_empty() {
            return;
        }
        // SAFETY: there is a writer, with room for these bytes behind `length`; nobody else has what it writes.
        unsafe {
            let room = PyBytesWriter_GetData(self.writer).cast::<u8>().add(self.length);
            ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len());
        }
        self.length += bytes.len();
    }

    /// The object.
    pub(crate) fn finish(mut self, py: Python<'_>) -> Bound<'_, PyBytes> {
        let writer = std::mem::replace(&mut self.writer, ptr::null_mut());
        if writer.is_null() {
            return PyBytes::new(py, &[]);
        }
        // SAFETY: the lock is held; the writer, which ends with this, has written so many bytes, and makes bytes of them.
        unsafe {
            let object = PyBytesWriter_FinishWithSize(writer, self.length as ffi::Py_ssize_t);
            Bound::from_owned_ptr(py, object).cast_into_unchecked()
        }
    }
}

impl Drop for GrowingBytes {
    fn drop(&mut self) {
        if !self.writer.is_null() {
            // SAFETY: the lock is held, and the writer ends here. An interpreter that ends first keeps the memory.
            Python::try_attach(|_| unsafe { PyBytesWriter_Discard(self.writer) });
        }
    }
}
