//! The scope as a dict (SCP rows): a copy of a prepared one, with what is this request's own set in it.
//!
//! Whatever an application may change is made for each scope; what is shared between scopes is immutable.

use std::cell::RefCell;

use asgi::{Address, Extensions, Headers, HttpScopeRef, HttpVersion};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rustc_hash::FxHashMap;

/// How many header names are kept as finished objects: all that are usual, and no more for who makes names up.
const NAMES: usize = 512;

/// Makes scopes.
pub(crate) struct Scopes {
    template: Py<PyDict>,
    asgi: Py<PyDict>,
    state: Py<PyDict>,
    /// What nearly every request has, prepared: a copy whose values are set costs less than a new dict.
    usual_extensions: Extensions,
    extensions: Py<PyDict>,
    extension_names: Vec<Py<PyString>>,
    names: RefCell<FxHashMap<Box<[u8]>, Py<PyBytes>>>,
}

/// What is kept beside a connection: objects that its next scope needs again.
#[derive(Default)]
pub(crate) struct Memory {
    headers: Option<Py<PyList>>,
    path: Option<(Py<PyBytes>, Py<PyString>)>,
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
        let usual_extensions = Extensions { pathsend: true, zerocopysend: true, early_hint: true, trailers: false };
        let extensions = PyDict::new(py);
        let extension_names: Vec<_> =
            extension_names(usual_extensions).map(|name| PyString::intern(py, name).unbind()).collect();
        for name in &extension_names {
            extensions.set_item(name, py.None())?;
        }
        Ok(Self {
            template: template.unbind(),
            asgi: asgi.unbind(),
            state,
            usual_extensions,
            extensions: extensions.unbind(),
            extension_names,
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
        let dict = self.template.bind(py).copy()?;
        dict.set_item(intern!(py, "asgi"), self.asgi.bind(py).copy()?)?;
        if scope.http_version != HttpVersion::Http11 {
            dict.set_item(intern!(py, "http_version"), scope.http_version.as_str())?;
        }
        if scope.method != "GET" {
            dict.set_item(intern!(py, "method"), scope.method)?;
        }
        let (raw_path, path) = path(py, scope, memory);
        dict.set_item(intern!(py, "path"), path)?;
        dict.set_item(intern!(py, "raw_path"), raw_path)?;
        if !scope.query_string.is_empty() {
            dict.set_item(intern!(py, "query_string"), PyBytes::new(py, scope.query_string))?;
        }
        dict.set_item(intern!(py, "headers"), self.headers(py, scope, memory)?)?;
        let client = memory.client.get_or_insert_with(|| address(py, scope.client));
        dict.set_item(intern!(py, "client"), client.bind(py))?;
        let server = memory.server.get_or_insert_with(|| address(py, scope.server));
        dict.set_item(intern!(py, "server"), server.bind(py))?;
        dict.set_item(intern!(py, "state"), self.state.bind(py).copy()?)?;
        dict.set_item(intern!(py, "extensions"), self.extensions(py, scope.extensions)?)?;
        Ok(dict)
    }

    /// `extensions`, for this request alone, the dicts in it included.
    fn extensions<'py>(&self, py: Python<'py>, extensions: Extensions) -> PyResult<Bound<'py, PyDict>> {
        if extensions == self.usual_extensions {
            let dict = self.extensions.bind(py).copy()?;
            for name in &self.extension_names {
                dict.set_item(name, PyDict::new(py))?;
            }
            return Ok(dict);
        }
        let dict = PyDict::new(py);
        for name in extension_names(extensions) {
            dict.set_item(name, PyDict::new(py))?;
        }
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

/// `raw_path` and `path`: the connection's last ones where they are asked for again.
fn path<'a>(py: Python<'_>, scope: &HttpScopeRef<'_>, memory: &'a mut Memory) -> (&'a Py<PyBytes>, &'a Py<PyString>) {
    if memory.path.as_ref().is_none_or(|(raw, _)| raw.as_bytes(py) != scope.raw_path) {
        memory.path = Some((PyBytes::new(py, scope.raw_path).unbind(), PyString::new(py, &scope.path).unbind()));
    }
    let kept = memory.path.as_ref().map(|(raw, path)| (raw, path));
    kept.expect("it was set where there was none")
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

fn extension_names(extensions: Extensions) -> impl Iterator<Item = &'static str> {
    let names = [
        (extensions.pathsend, "http.response.pathsend"),
        (extensions.zerocopysend, "http.response.zerocopysend"),
        (extensions.early_hint, "http.response.early_hint"),
        (extensions.trailers, "http.response.trailers"),
    ];
    names.into_iter().filter_map(|(has, name)| has.then_some(name))
}
