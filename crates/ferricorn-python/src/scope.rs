//! The scope as a dict (SCP rows): a copy of a prepared one, with what is this request's own set in it.
//!
//! Whatever an application may change is made for each scope; what is shared between scopes is immutable.

use std::cell::RefCell;
use std::collections::HashMap;

use asgi::{Address, Extensions, Headers, HttpScopeRef, HttpVersion};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

/// How many header names are kept as finished objects: all that are usual, and no more for who makes names up.
const NAMES: usize = 512;

/// Makes scopes.
pub(crate) struct Scopes {
    template: Py<PyDict>,
    asgi: Py<PyDict>,
    state: Py<PyDict>,
    names: RefCell<HashMap<Box<[u8]>, Py<PyBytes>>>,
}

/// What is kept beside a connection: objects that its next scope needs again.
#[derive(Default)]
pub(crate) struct Memory {
    headers: Option<Py<PyList>>,
    client: Option<Py<PyAny>>,
    server: Option<Py<PyAny>>,
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
        template.set_item(intern!(py, "http_version"), "1.1")?;
        template.set_item(intern!(py, "method"), intern!(py, "GET"))?;
        template.set_item(intern!(py, "scheme"), intern!(py, "http"))?;
        for name in ["path", "raw_path"] {
            template.set_item(PyString::intern(py, name), py.None())?;
        }
        template.set_item(intern!(py, "query_string"), PyBytes::new(py, b""))?;
        template.set_item(intern!(py, "root_path"), root_path)?;
        for name in ["headers", "client", "server", "state", "extensions"] {
            template.set_item(PyString::intern(py, name), py.None())?;
        }
        Ok(Self { template: template.unbind(), asgi: asgi.unbind(), state, names: RefCell::default() })
    }

    /// The scope of one request.
    pub(crate) fn http<'py>(
        &self,
        py: Python<'py>,
        scope: &HttpScopeRef<'_>,
        memory: &mut Memory,
    ) -> PyResult<Bound<'py, PyDict>> {
        let dict = self.template.bind(py).copy()?;
        dict.set_item(intern!(py, "asgi"), self.asgi.bind(py).copy()?)?;
        if scope.http_version != HttpVersion::Http11 {
            dict.set_item(intern!(py, "http_version"), scope.http_version.as_str())?;
        }
        if scope.method != "GET" {
            dict.set_item(intern!(py, "method"), scope.method)?;
        }
        dict.set_item(intern!(py, "path"), &*scope.path)?;
        dict.set_item(intern!(py, "raw_path"), PyBytes::new(py, scope.raw_path))?;
        if !scope.query_string.is_empty() {
            dict.set_item(intern!(py, "query_string"), PyBytes::new(py, scope.query_string))?;
        }
        dict.set_item(intern!(py, "headers"), self.headers(py, scope, memory)?)?;
        let client = memory.client.get_or_insert_with(|| address(py, scope.client));
        dict.set_item(intern!(py, "client"), client.bind(py))?;
        let server = memory.server.get_or_insert_with(|| address(py, scope.server));
        dict.set_item(intern!(py, "server"), server.bind(py))?;
        dict.set_item(intern!(py, "state"), self.state.bind(py).copy()?)?;
        dict.set_item(intern!(py, "extensions"), extensions(py, scope.extensions)?)?;
        Ok(dict)
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

/// An address as `client` and `server` have it: (host, port), (path, None) or None (SCP-13, SCP-14).
fn address(py: Python<'_>, address: Option<&Address>) -> Py<PyAny> {
    let object = match address {
        Some(Address::Ip(address)) => (address.ip().to_string(), address.port()).into_pyobject(py),
        Some(Address::Unix(path)) => (path, py.None()).into_pyobject(py),
        None => return py.None(),
    };
    object.map_or_else(|_| py.None(), |tuple| tuple.into_any().unbind())
}

fn extensions<'py>(py: Python<'py>, extensions: Extensions) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    if extensions.pathsend {
        dict.set_item(intern!(py, "http.response.pathsend"), PyDict::new(py))?;
    }
    if extensions.zerocopysend {
        dict.set_item(intern!(py, "http.response.zerocopysend"), PyDict::new(py))?;
    }
    if extensions.early_hint {
        dict.set_item(intern!(py, "http.response.early_hint"), PyDict::new(py))?;
    }
    if extensions.trailers {
        dict.set_item(intern!(py, "http.response.trailers"), PyDict::new(py))?;
    }
    Ok(dict)
}
