//! The scope as a dict (SCP rows): a copy of the connection's prepared one, in which what the last request had in common
//! with this one stands already.
//!
//! Whatever an application may change is made for each scope, or has come back from the last one untouched; what is shared
//! between scopes is immutable.

use std::cell::RefCell;

use asgi::{Address, Extensions, Headers, HttpScopeRef, HttpVersion};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rustc_hash::FxHashMap;

use crate::ffi;

/// How many header names are kept as finished objects: all that are usual, and no more for who makes names up.
const NAMES: usize = 512;

/// What nearly every request has.
const USUAL: Extensions = Extensions { pathsend: true, zerocopysend: true, early_hint: true, trailers: false };

/// Makes scopes.
pub(crate) struct Scopes {
    template: Py<PyDict>,
    asgi: Py<PyDict>,
    state: Py<PyDict>,
    /// The usual extensions: their inner dicts are used again where nobody has kept or changed them.
    usual: RefCell<Prepared>,
    /// Whether reference counts say who has an object: not without the interpreter lock.
    counts_are_exact: bool,
    names: RefCell<FxHashMap<Box<[u8]>, Py<PyBytes>>>,
}

/// What is kept beside a connection: objects that its next scope needs again.
#[derive(Default)]
pub(crate) struct Memory {
    /// Whether there was a request: most connections that have only one keep nothing.
    in_use: bool,
    headers: Option<Py<PyList>>,
    /// The scope as it stands before what is fresh for each request is set.
    base: Option<Base>,
}

/// The connection's prepared scope, and what it says.
struct Base {
    dict: Py<PyDict>,
    raw_path: Py<PyBytes>,
    query_string: Py<PyBytes>,
    method: Py<PyString>,
    http_version: HttpVersion,
}

/// The extensions of a scope, to be copied, and the dicts in it, one for each.
struct Prepared {
    dict: Py<PyDict>,
    payloads: Vec<Py<PyDict>>,
}

impl Scopes {
    /// `state` is what the lifespan's scope was given (LIFE-15), `version` the style of the application (APP-09).
    pub(crate) fn new(py: Python<'_>, state: Py<PyDict>, version: &str, root_path: &str) -> PyResult<Self> {
        let asgi = PyDict::new(py);
        asgi.set_item(intern!(py, "version"), version)?;
        asgi.set_item(intern!(py, "spec_version"), asgi::SPEC_VERSION)?;
        let template = PyDict::new(py);
        template.set_item(intern!(py, "type"), intern!(py, "http"))?;
        template.set_item(intern!(py, "asgi"), py.None())?;
        template.set_item(intern!(py, "http_version"), HttpVersion::Http11.as_str())?;
        for name in ["method", "scheme", "path", "raw_path", "query_string", "root_path"] {
            template.set_item(PyString::intern(py, name), py.None())?;
        }
        template.set_item(intern!(py, "root_path"), root_path)?;
        for name in ["headers", "client", "server", "state", "extensions"] {
            template.set_item(PyString::intern(py, name), py.None())?;
        }
        Ok(Self {
            template: template.unbind(),
            asgi: asgi.unbind(),
            state,
            usual: RefCell::new(Prepared::new(py, USUAL)?),
            counts_are_exact: ffi::has_lock(py)?,
            names: RefCell::default(),
        })
    }

    /// The scope of one request.
    pub(crate) fn http<'py>(
        &self,
        py: Python<'py>,
        scope: &HttpScopeRef<'_>,
        memory: &mut Memory,
    ) -> PyResult<Bound<'py, PyDict>> {
        let is_first = !std::mem::replace(&mut memory.in_use, true);
        let dict = if is_first { self.base(py, scope)?.dict.into_bound(py) } else { self.repeated(py, scope, memory)? };
        let headers = if is_first { self.header_list(py, scope.headers)? } else { self.headers(py, scope, memory)? };
        dict.set_item(intern!(py, "asgi"), self.asgi.bind(py).copy()?)?;
        dict.set_item(intern!(py, "headers"), headers)?;
        dict.set_item(intern!(py, "state"), self.state.bind(py).copy()?)?;
        dict.set_item(intern!(py, "extensions"), self.extensions(py, scope.extensions)?)?;
        Ok(dict)
    }

    fn repeated<'py>(
        &self,
        py: Python<'py>,
        scope: &HttpScopeRef<'_>,
        memory: &mut Memory,
    ) -> PyResult<Bound<'py, PyDict>> {
        match &mut memory.base {
            Some(base) => {
                base.update(py, scope)?;
                base.dict.bind(py).copy()
            }
            none => none.insert(self.base(py, scope)?).dict.bind(py).copy(),
        }
    }

    fn base(&self, py: Python<'_>, scope: &HttpScopeRef<'_>) -> PyResult<Base> {
        let dict = self.template.bind(py).copy()?;
        dict.set_item(intern!(py, "scheme"), PyString::intern(py, scope.scheme.as_str()))?;
        dict.set_item(intern!(py, "client"), address(py, scope.client)?)?;
        dict.set_item(intern!(py, "server"), address(py, scope.server)?)?;
        let mut base = Base {
            dict: dict.unbind(),
            raw_path: PyBytes::new(py, b"").unbind(),
            query_string: PyBytes::new(py, b"").unbind(),
            method: intern!(py, "GET").clone().unbind(),
            http_version: HttpVersion::Http11,
        };
        base.dict.bind(py).set_item(intern!(py, "method"), &base.method)?;
        base.dict.bind(py).set_item(intern!(py, "query_string"), &base.query_string)?;
        base.update(py, scope)?;
        Ok(base)
    }

    /// `extensions`, for this request alone, the dicts in it included.
    fn extensions<'py>(&self, py: Python<'py>, extensions: Extensions) -> PyResult<Bound<'py, PyDict>> {
        if extensions != USUAL {
            return Ok(Prepared::new(py, extensions)?.dict.into_bound(py));
        }
        let mut usual = self.usual.borrow_mut();
        if !(self.counts_are_exact && usual.is_untouched(py)) {
            *usual = Prepared::new(py, USUAL)?;
        }
        usual.dict.bind(py).copy()
    }

    fn headers<'py>(
        &self,
        py: Python<'py>,
        scope: &HttpScopeRef<'_>,
        memory: &mut Memory,
    ) -> PyResult<Bound<'py, PyList>> {
        let kept = match &memory.headers {
            Some(kept) if scope.headers_repeated => kept.bind(py).clone(),
            _ => {
                let list = self.header_list(py, scope.headers)?;
                memory.headers = Some(list.clone().unbind());
                list
            }
        };
        // The application may change its list; the tuples in it are shared, and immutable.
        Ok(kept.get_slice(0, kept.len()))
    }

    fn header_list<'py>(&self, py: Python<'py>, headers: &Headers) -> PyResult<Bound<'py, PyList>> {
        let mut names = self.names.borrow_mut();
        let tuples = headers.iter().map(|(name, value)| {
            let name = match names.get(name) {
                Some(kept) => kept.bind(py).clone(),
                None => {
                    let bytes = PyBytes::new(py, name);
                    if names.len() < NAMES {
                        names.insert(name.into(), bytes.clone().unbind());
                    }
                    bytes
                }
            };
            PyTuple::new(py, [name, PyBytes::new(py, value)])
        });
        PyList::new(py, tuples.collect::<PyResult<Vec<_>>>()?)
    }
}

impl Base {
    /// Makes it say what this request says.
    fn update(&mut self, py: Python<'_>, scope: &HttpScopeRef<'_>) -> PyResult<()> {
        let dict = self.dict.bind(py);
        if self.raw_path.as_bytes(py) != scope.raw_path {
            self.raw_path = PyBytes::new(py, scope.raw_path).unbind();
            dict.set_item(intern!(py, "raw_path"), &self.raw_path)?;
            dict.set_item(intern!(py, "path"), &*scope.path)?;
        }
        if self.query_string.as_bytes(py) != scope.query_string {
            self.query_string = PyBytes::new(py, scope.query_string).unbind();
            dict.set_item(intern!(py, "query_string"), &self.query_string)?;
        }
        if self.method.to_str(py)? != scope.method {
            self.method = PyString::new(py, scope.method).unbind();
            dict.set_item(intern!(py, "method"), &self.method)?;
        }
        if self.http_version != scope.http_version {
            self.http_version = scope.http_version;
            dict.set_item(intern!(py, "http_version"), scope.http_version.as_str())?;
        }
        Ok(())
    }
}

impl Prepared {
    fn new(py: Python<'_>, extensions: Extensions) -> PyResult<Self> {
        let dict = PyDict::new(py);
        let mut payloads = Vec::with_capacity(4);
        for name in extension_names(extensions) {
            let payload = PyDict::new(py);
            dict.set_item(PyString::intern(py, name), &payload)?;
            payloads.push(payload.unbind());
        }
        Ok(Self { dict: dict.unbind(), payloads })
    }

    /// Whether nobody has the inner dicts any more and they are as they were: then nobody can tell them from new ones.
    fn is_untouched(&self, py: Python<'_>) -> bool {
        self.payloads.iter().all(|payload| {
            let payload = payload.bind(py);
            // This list's reference, and the prepared dict's.
            payload.is_empty() && ffi::reference_count(payload) == 2
        })
    }
}

/// An address as `client` and `server` have it: (host, port), (path, None) or None (SCP-13, SCP-14).
fn address<'py>(py: Python<'py>, address: Option<&Address>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match address {
        Some(Address::Ip(address)) => (address.ip().to_string(), address.port()).into_pyobject(py)?.into_any(),
        Some(Address::Unix(path)) => (path, py.None()).into_pyobject(py)?.into_any(),
        None => py.None().into_bound(py),
    })
}

fn extension_names(extensions: Extensions) -> impl Iterator<Item = &'static str> {
    let names = [
        (extensions.pathsend, "http.response.pathsend"),
        (extensions.zerocopysend, "http.response.zerocopysend"),
        (extensions.early_hint, "http.response.early_hint"),
        (extensions.trailers, "http.response.trailers"),
    ];
    names.into_iter().filter_map(|(has, name)| has.then_some(name))
}
