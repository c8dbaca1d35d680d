//! What the interpreter calls with as little in between as it allows: callables around a Rust value, and the iterator that
//! they return.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::PyType;

use super::{ThreadBound, has_lock, reference_count};

/// A Rust value that Python can call.
pub(crate) trait Callable: Sized + 'static {
    /// The name of its type, with its module.
    const NAME: &'static CStr;
    /// How many arguments it takes: all positional, one at the most.
    const ARGUMENTS: usize;

    /// `argument` is there where `ARGUMENTS` is 1.
    fn call<'py>(&self, py: Python<'py>, argument: Option<&Bound<'py, PyAny>>) -> PyResult<Py<PyAny>>;

    /// The same call on another thread than the one that made the object.
    fn call_elsewhere<'py>(callable: &Bound<'py, PyAny>, argument: Option<&Bound<'py, PyAny>>) -> PyResult<Py<PyAny>>;
}

/// The Python type of callables around a `T`: made and called without a tuple of arguments, without the collector.
pub(crate) struct CallableType<T> {
    class: Py<PyType>,
    /// An object without a value, for the next one.
    spare: Cell<Option<Py<PyAny>>>,
    /// Whether reference counts say who has an object.
    counts_are_exact: bool,
    value: PhantomData<fn(T)>,
}

#[repr(C)]
struct CallableObject<T> {
    base: ffi::PyObject,
    vectorcall: ffi::vectorcallfunc,
    /// None while nobody but its type has the object.
    value: ThreadBound<Option<T>>,
}

impl<T: Callable> CallableType<T> {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        let mut members = [
            ffi::PyMemberDef {
                name: c"__vectorcalloffset__".as_ptr(),
                type_code: ffi::Py_T_PYSSIZET,
                offset: offset_of!(CallableObject<T>, vectorcall) as ffi::Py_ssize_t,
                flags: ffi::Py_READONLY,
                doc: ptr::null(),
            },
            ffi::PyMemberDef::default(),
        ];
        let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
        let mut slots = [
            slot(ffi::Py_tp_dealloc, deallocate::<T> as *mut c_void),
            slot(ffi::Py_tp_call, call_with_tuple::<T> as *mut c_void),
            slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
            slot(0, ptr::null_mut()),
        ];
        let flags = ffi::Py_TPFLAGS_DEFAULT
            | ffi::Py_TPFLAGS_HAVE_VECTORCALL
            | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION
            | ffi::Py_TPFLAGS_IMMUTABLETYPE;
        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: size_of::<CallableObject<T>>() as i32,
            itemsize: 0,
            flags: flags as u32,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the spec is complete, its names live for ever and its arrays for the call, which copies them. The
        // object of the type is laid out as `CallableObject<T>`, whose first field is the object's head.
        let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec))? };
        let class = class.cast_into::<PyType>()?.unbind();
        Ok(Self { class, spare: Cell::new(None), counts_are_exact: has_lock(py)?, value: PhantomData })
    }

    /// An object around the value: a new one, unless there is one that was given back.
    pub(crate) fn object<'py>(&self, py: Python<'py>, value: T) -> PyResult<Bound<'py, PyAny>> {
        if let Some(object) = self.spare.take() {
            self.set_value(py, &object, Some(value));
            return Ok(object.into_bound(py));
        }
        self.new_object(py, value)
    }

    /// Takes an object that [`object`](Self::object) gave, to be used again where nobody else has it any more.
    pub(crate) fn give_back(&self, object: Bound<'_, PyAny>) {
        if self.counts_are_exact && reference_count(&object) == 1 {
            let (py, object) = (object.py(), object.unbind());
            self.set_value(py, &object, None);
            self.spare.set(Some(object));
        }
    }

    /// The object must be of this type, and nobody else's.
    fn set_value(&self, _: Python<'_>, object: &Py<PyAny>, value: Option<T>) {
        // SAFETY: both callers have an object of this type that nobody else has a reference to, so nobody looks at its
        // value or calls it meanwhile; the thread is attached.
        unsafe { (*object.as_ptr().cast::<CallableObject<T>>()).value = ThreadBound::new(value) };
    }

    fn new_object<'py>(&self, py: Python<'py>, value: T) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: `PyObject_New` gives memory of the type's basic size, its head initialised and the type's reference
        // counted, or NULL with an exception set. Every field behind the head is written before anyone sees the object.
        unsafe {
            let object = ffi::PyObject_New::<CallableObject<T>>(self.class.as_ptr().cast());
            if object.is_null() {
                return Err(PyErr::fetch(py));
            }
            (&raw mut (*object).vectorcall).write(vectorcall::<T>);
            (&raw mut (*object).value).write(ThreadBound::new(Some(value)));
            Ok(Bound::from_owned_ptr(py, object.cast()))
        }
    }
}

unsafe extern "C" fn deallocate<T: Callable>(object: *mut ffi::PyObject) {
    // The references in the value have to be given back at once, not at the next chance. An interpreter that is being
    // finalised cannot be attached to: then the value is left to the end of the process.
    Python::try_attach(|_| {
        // SAFETY: the interpreter calls this once, for an object of our type that nobody refers to any more; the type
        // was counted when the object was made.
        unsafe {
            let class = ffi::Py_TYPE(object);
            ptr::drop_in_place(&raw mut (*object.cast::<CallableObject<T>>()).value);
            ffi::PyObject_Free(object.cast());
            ffi::Py_DECREF(class.cast());
        }
    });
}

unsafe extern "C" fn vectorcall<T: Callable>(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    entered(|py| {
        // SAFETY: the interpreter calls this for an object of our type, with as many arguments as it says and a tuple of
        // names or NULL; all of them live through the call.
        let (callable, value, argument) = unsafe {
            let count = ffi::PyVectorcall_NARGS(count) as usize;
            if count != T::ARGUMENTS || !(names.is_null() || ffi::PyTuple_GET_SIZE(names) == 0) {
                return Err(wrong_arguments::<T>());
            }
            let value = &(*callable.cast::<CallableObject<T>>()).value;
            (Borrowed::from_ptr(py, callable), value, (count == 1).then(|| Borrowed::from_ptr(py, *arguments)))
        };
        called(&callable, value, argument.as_deref()).map(Some)
    })
}

unsafe extern "C" fn call_with_tuple<T: Callable>(
    callable: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    entered(|py| {
        // SAFETY: as in `vectorcall`, with the arguments in a tuple and the names in a dict or NULL.
        let (callable, value, argument) = unsafe {
            let count = ffi::PyTuple_GET_SIZE(arguments) as usize;
            if count != T::ARGUMENTS || !(names.is_null() || ffi::PyDict_Size(names) == 0) {
                return Err(wrong_arguments::<T>());
            }
            let value = &(*callable.cast::<CallableObject<T>>()).value;
            (
                Borrowed::from_ptr(py, callable),
                value,
                (count == 1).then(|| Borrowed::from_ptr(py, ffi::PyTuple_GET_ITEM(arguments, 0))),
            )
        };
        called(&callable, value, argument.as_deref()).map(Some)
    })
}

/// Calls the value where it lives, or says that the caller is elsewhere.
fn called<'py, T: Callable>(
    callable: &Bound<'py, PyAny>,
    value: &ThreadBound<Option<T>>,
    argument: Option<&Bound<'py, PyAny>>,
) -> PyResult<Py<PyAny>> {
    match value.get() {
        Ok(Some(value)) => value.call(callable.py(), argument),
        _ => T::call_elsewhere(callable, argument),
    }
}

fn wrong_arguments<T: Callable>() -> PyErr {
    let name = T::NAME.to_string_lossy();
    PyTypeError::new_err(format!("{name}() takes {} positional argument(s) and no other", T::ARGUMENTS))
}

/// Runs what the interpreter called, and gives it an object, or NULL: with an exception set where it failed.
fn entered(body: impl FnOnce(Python<'_>) -> PyResult<Option<Py<PyAny>>>) -> *mut ffi::PyObject {
    let object = Python::try_attach(|py| {
        let result = catch_unwind(AssertUnwindSafe(|| body(py)));
        match result.unwrap_or_else(|_| Err(PanicException::new_err("the server failed: this is a bug in it"))) {
            Ok(object) => object.map_or(ptr::null_mut(), Py::into_ptr),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    });
    object.unwrap_or_else(|| {
        // SAFETY: the interpreter has called this with its lock held, even if it is being finalised.
        unsafe { ffi::PyErr_SetString(ffi::PyExc_RuntimeError, c"the interpreter is being finalised".as_ptr()) };
        ptr::null_mut()
    })
}

/// An iterator that is its own `__iter__` and `__await__`, and tells its end without more ado.
pub(crate) trait Iterated: PyClass<Frozen = True> + Sync {
    fn has_ended(&self) -> bool;

    fn next(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;
}

/// Has the interpreter do without pyo3's way into a call where it awaits such an object: most have ended when they are
/// awaited, and their three calls would cost more than all else about them. To be said once, before there is one.
pub(crate) fn shorten<T: Iterated>(py: Python<'_>) {
    let class = T::type_object_raw(py);
    // SAFETY: the type is a heap type that lives for ever, and nobody uses it yet; the functions do what those of pyo3 do,
    // which the type's dict goes on naming.
    unsafe {
        (*class).tp_iter = Some(ffi::PyObject_SelfIter);
        (*class).tp_iternext = Some(next::<T>);
        if let Some(methods) = (*class).tp_as_async.as_mut() {
            methods.am_await = Some(ffi::PyObject_SelfIter);
        }
    }
}

unsafe extern "C" fn next<T: Iterated>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls this, attached, for an object of the type, which lives through the call.
    let object = unsafe { Borrowed::from_ptr(Python::assume_attached(), object).cast_unchecked::<T>() };
    if object.get().has_ended() { ptr::null_mut() } else { entered(|py| object.get().next(py)) }
}
