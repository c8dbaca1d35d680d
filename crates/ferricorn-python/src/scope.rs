//! The scope as a dict (SCP rows): a copy of the connection's prepared one, in which what the last request had in common
//! with this one stands already.
//!
//! Whatever an application may change is made for each scope, or has come back from the last one untouched; what is shared
//! between scopes is immutable.

use std::cell::RefCell;

use asgi::{Address, Extensions, Headers, HttpVersion, ScopeKind, ScopeRef, Tls};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use rustc_hash::FxHashMap;

use crate::ffi::{self, Items};

/// How many header names are kept as finished objects: all that are usual, and no more for who makes names up.
const NAMES: usize = 512;

/// Makes scopes.
pub(crate) struct Scopes {
    http: Py<PyDict>,
    websocket: Py<PyDict>,
    asgi: Py<PyDict>,
    asgi_items: Items,
    state: Py<PyDict>,
    /// Whether reference counts say who has an object: not without the interpreter lock.
    counts_are_exact: bool,
    names: RefCell<Names>,
}

/// Finished names of fields.
type Names = FxHashMap<Box<[u8]>, Py<PyBytes>>;

/// What is kept beside a connection, for its next scope.
#[derive(Default)]
pub(crate) struct Memory {
    /// Whether there was a request: most connections that have only one keep nothing.
    in_use: bool,
    prepared: Option<Box<Prepared>>,
    /// Where fields have tokens.
    tuples: Tuples,
}

/// How many fields are kept by their tokens: a table of HTTP/2 has 61 static entries and 64 others of the smallest useful
/// size.
const TUPLES: usize = 128;

/// Finished `(name, value)` of a connection, by the tokens of its fields: each stands where its token's remainder says,
/// until another comes there; nothing has token 0. Empty until a token is seen.
#[derive(Default)]
struct Tuples(Vec<Option<(u32, Py<PyAny>)>>);

impl Tuples {
    fn get(&self, py: Python<'_>, token: u32) -> Option<Py<PyAny>> {
        match self.0.get(token as usize % TUPLES) {
            Some(Some((kept, tuple))) if *kept == token => Some(tuple.clone_ref(py)),
            _ => None,
        }
    }

    fn keep(&mut self, py: Python<'_>, token: u32, tuple: &Py<PyAny>) {
        self.0.resize_with(TUPLES, || None);
        self.0[token as usize % TUPLES] = Some((token, tuple.clone_ref(py)));
    }
}

/// The connection's prepared scope, of which each of its scopes is a copy, and what it says.
///
/// What an application may change (a dict or list in the scope) is in it as well. It is used again only where reference
/// counts and a look at it show that nobody has kept or changed it, so that nobody can tell it from a new one.
struct Prepared {
    scope: Py<PyDict>,
    raw_path: Py<PyBytes>,
    query_string: Py<PyBytes>,
    method: Py<PyString>,
    http_version: HttpVersion,
    asgi: Py<PyDict>,
    state: Py<PyDict>,
    extensions: Py<PyDict>,
    /// What `extensions` has in it.
    advertised_items: Items,
    /// The dicts in `extensions`.
    payloads: Vec<Py<PyDict>>,
    advertised: Extensions,
    tls: Option<TlsPayload>,
    headers: Py<PyList>,
    /// What `headers` has in it.
    fields: Vec<Py<PyAny>>,
}

/// The dict of the TLS extension, and what is to be in it.
struct TlsPayload {
    payload: Py<PyDict>,
    facts: Py<PyDict>,
    items: Items,
}

impl Scopes {
    /// `state` is what the lifespan's scope was given (LIFE-15), `version` the style of the application (APP-09).
    pub(crate) fn new(py: Python<'_>, state: Py<PyDict>, version: &str) -> PyResult<Self> {
        let asgi = PyDict::new(py);
        asgi.set_item(intern!(py, "version"), version)?;
        asgi.set_item(intern!(py, "spec_version"), asgi::SPEC_VERSION)?;
        Ok(Self {
            http: template(py, "http", Some("method"))?,
            websocket: template(py, "websocket", None)?,
            asgi_items: Items::of(&asgi),
            asgi: asgi.unbind(),
            state,
            counts_are_exact: ffi::has_lock(py)?,
            names: RefCell::default(),
        })
    }

    /// Whether reference counts tell who has an object.
    pub(crate) fn counts_are_exact(&self) -> bool {
        self.counts_are_exact
    }

    /// The scope of one request or WebSocket.
    pub(crate) fn scope<'py>(
        &self,
        py: Python<'py>,
        scope: &ScopeRef<'_>,
        memory: &mut Memory,
    ) -> PyResult<Bound<'py, PyDict>> {
        if let ScopeKind::WebSocket { subprotocols } = scope.kind {
            // What follows it on its connection, in HTTP/2, has the last scope of a request no more.
            (memory.in_use, memory.prepared) = (false, None);
            let dict = self.prepare(py, scope, &mut memory.tuples)?.scope.into_bound(py);
            dict.set_item(intern!(py, "subprotocols"), PyList::new(py, subprotocols)?)?;
            return Ok(dict);
        }
        if !std::mem::replace(&mut memory.in_use, true) {
            return Ok(self.prepare(py, scope, &mut memory.tuples)?.scope.into_bound(py));
        }
        let prepared = match &mut memory.prepared {
            Some(prepared) => {
                self.update(py, prepared, scope, &mut memory.tuples)?;
                prepared
            }
            none => none.insert(Box::new(self.prepare(py, scope, &mut memory.tuples)?)),
        };
        prepared.scope.bind(py).copy()
    }

    fn prepare(&self, py: Python<'_>, scope: &ScopeRef<'_>, tuples: &mut Tuples) -> PyResult<Prepared> {
        let template = match scope.kind {
            ScopeKind::Http { .. } => &self.http,
            ScopeKind::WebSocket { .. } => &self.websocket,
        };
        let dict = template.bind(py).copy()?;
        let mut prepared = Prepared {
            scope: dict.unbind(),
            raw_path: PyBytes::new(py, b"").unbind(),
            query_string: PyBytes::new(py, b"").unbind(),
            method: PyString::new(py, "").unbind(),
            http_version: scope.http_version,
            asgi: PyDict::new(py).unbind(),
            state: PyDict::new(py).unbind(),
            extensions: PyDict::new(py).unbind(),
            advertised_items: Items::default(),
            payloads: Vec::new(),
            advertised: scope.extensions,
            tls: scope.tls.map(|tls| TlsPayload::new(py, tls)).transpose()?,
            headers: PyList::empty(py).unbind(),
            fields: Vec::new(),
        };
        prepared.set_ends(py, scope)?;
        prepared.set_version(py, scope.http_version)?;
        prepared.set_query_string(py, scope.query_string)?;
        prepared.set_line(py, scope)?;
        prepared.set_asgi(py, &self.asgi)?;
        prepared.set_state(py, &self.state)?;
        prepared.set_extensions(py, scope.extensions)?;
        prepared.set_headers(py, self.header_tuples(py, scope.headers, tuples)?)?;
        Ok(prepared)
    }

    /// Makes the prepared scope say what this request says, and be as new.
    fn update(
        &self,
        py: Python<'_>,
        prepared: &mut Prepared,
        scope: &ScopeRef<'_>,
        tuples: &mut Tuples,
    ) -> PyResult<()> {
        if !scope.ends_repeated {
            prepared.set_ends(py, scope)?;
            // It goes with the root path, also where the target is repeated.
            prepared.scope.bind(py).set_item(intern!(py, "path"), &*scope.path)?;
        }
        prepared.set_line(py, scope)?;
        if prepared.query_string.as_bytes(py) != scope.query_string {
            prepared.set_query_string(py, scope.query_string)?;
        }
        if prepared.http_version != scope.http_version {
            prepared.set_version(py, scope.http_version)?;
        }
        let exact = self.counts_are_exact;
        if !(exact && prepared.asgi_is_untouched(py, &self.asgi_items)) {
            prepared.set_asgi(py, &self.asgi)?;
        }
        if !(exact && prepared.state_is_untouched(py) && self.state.bind(py).is_empty()) {
            prepared.set_state(py, &self.state)?;
        }
        if !(exact && prepared.advertised == scope.extensions && prepared.extensions_are_untouched(py)) {
            prepared.set_extensions(py, scope.extensions)?;
        }
        if !scope.headers_repeated {
            prepared.set_headers(py, self.header_tuples(py, scope.headers, tuples)?)?;
        } else if !(exact && prepared.headers_are_untouched(py)) {
            // The tuples are immutable, and shared.
            let fields = std::mem::take(&mut prepared.fields);
            prepared.set_headers(py, fields)?;
        }
        Ok(())
    }

    /// A field that has a token is made once.
    fn header_tuples(&self, py: Python<'_>, headers: &Headers, kept: &mut Tuples) -> PyResult<Vec<Py<PyAny>>> {
        let mut names = self.names.borrow_mut();
        let mut tuples = Vec::with_capacity(headers.len());
        for ((name, value), token) in headers.iter().zip(headers.tokens()) {
            if let Some(tuple) = kept.get(py, token) {
                tuples.push(tuple);
                continue;
            }
            let tuple = new_tuple(py, &mut names, name, value)?;
            if token != 0 {
                kept.keep(py, token, &tuple);
            }
            tuples.push(tuple);
        }
        Ok(tuples)
    }
}

/// A field's name and value; the name is the finished one where it has come before.
fn new_tuple(py: Python<'_>, names: &mut Names, name: &[u8], value: &[u8]) -> PyResult<Py<PyAny>> {
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
    Ok(PyTuple::new(py, [name, PyBytes::new(py, value)])?.into_any().unbind())
}

/// A scope of this type in which every key stands, in the order of the specification.
fn template(py: Python<'_>, kind: &str, method: Option<&str>) -> PyResult<Py<PyDict>> {
    let template = PyDict::new(py);
    template.set_item(intern!(py, "type"), PyString::intern(py, kind))?;
    let request = ["asgi", "http_version"].into_iter().chain(method);
    let target = ["scheme", "path", "raw_path", "query_string", "root_path"];
    let rest = ["headers", "client", "server", "state", "extensions"];
    for name in request.chain(target).chain(rest) {
        template.set_item(PyString::intern(py, name), py.None())?;
    }
    Ok(template.unbind())
}

/// The references to an object in the prepared scope that nobody else has: the scope's and the one beside it.
const OURS: isize = 2;

impl Prepared {
    /// Where proxies stand between, each request of a connection may have others.
    fn set_ends(&mut self, py: Python<'_>, scope: &ScopeRef<'_>) -> PyResult<()> {
        let dict = self.scope.bind(py);
        let scheme = match scope.kind {
            ScopeKind::Http { .. } => scope.scheme.as_str(),
            ScopeKind::WebSocket { .. } => scope.scheme.as_websocket_str(),
        };
        dict.set_item(intern!(py, "scheme"), PyString::intern(py, scheme))?;
        dict.set_item(intern!(py, "client"), address(py, scope.client)?)?;
        dict.set_item(intern!(py, "server"), address(py, scope.server)?)?;
        dict.set_item(intern!(py, "root_path"), scope.root_path)
    }

    fn set_line(&mut self, py: Python<'_>, scope: &ScopeRef<'_>) -> PyResult<()> {
        let dict = self.scope.bind(py);
        if self.raw_path.as_bytes(py) != scope.raw_path {
            self.raw_path = PyBytes::new(py, scope.raw_path).unbind();
            dict.set_item(intern!(py, "raw_path"), &self.raw_path)?;
            dict.set_item(intern!(py, "path"), &*scope.path)?;
        }
        if let ScopeKind::Http { method } = scope.kind
            && self.method.to_str(py)? != method
        {
            self.method = PyString::new(py, method).unbind();
            dict.set_item(intern!(py, "method"), &self.method)?;
        }
        Ok(())
    }

    fn set_query_string(&mut self, py: Python<'_>, query_string: &[u8]) -> PyResult<()> {
        self.query_string = PyBytes::new(py, query_string).unbind();
        self.scope.bind(py).set_item(intern!(py, "query_string"), &self.query_string)
    }

    fn set_version(&mut self, py: Python<'_>, version: HttpVersion) -> PyResult<()> {
        self.http_version = version;
        self.scope.bind(py).set_item(intern!(py, "http_version"), version.as_str())
    }

    fn set_asgi(&mut self, py: Python<'_>, asgi: &Py<PyDict>) -> PyResult<()> {
        self.asgi = asgi.bind(py).copy()?.unbind();
        self.scope.bind(py).set_item(intern!(py, "asgi"), &self.asgi)
    }

    fn asgi_is_untouched(&self, py: Python<'_>, items: &Items) -> bool {
        let asgi = self.asgi.bind(py);
        ffi::reference_count(asgi) == OURS && items.are_all_of(asgi)
    }

    /// A shallow copy, taken for each request (LIFE-16).
    fn set_state(&mut self, py: Python<'_>, state: &Py<PyDict>) -> PyResult<()> {
        self.state = state.bind(py).copy()?.unbind();
        self.scope.bind(py).set_item(intern!(py, "state"), &self.state)
    }

    /// Only an empty one is used again: what others hold, it must not hold on to.
    fn state_is_untouched(&self, py: Python<'_>) -> bool {
        let state = self.state.bind(py);
        state.is_empty() && ffi::reference_count(state) == OURS
    }

    fn set_extensions(&mut self, py: Python<'_>, extensions: Extensions) -> PyResult<()> {
        let dict = PyDict::new(py);
        self.payloads.clear();
        for name in extension_names(extensions) {
            let payload = PyDict::new(py);
            dict.set_item(PyString::intern(py, name), &payload)?;
            self.payloads.push(payload.unbind());
        }
        if let Some(tls) = &mut self.tls {
            tls.payload = tls.facts.bind(py).copy()?.unbind();
            dict.set_item(intern!(py, "tls"), &tls.payload)?;
        }
        self.advertised = extensions;
        self.advertised_items = Items::of(&dict);
        self.extensions = dict.unbind();
        self.scope.bind(py).set_item(intern!(py, "extensions"), &self.extensions)
    }

    fn extensions_are_untouched(&self, py: Python<'_>) -> bool {
        let extensions = self.extensions.bind(py);
        ffi::reference_count(extensions) == OURS
            && self.advertised_items.are_all_of(extensions)
            && self.payloads.iter().all(|payload| {
                let payload = payload.bind(py);
                payload.is_empty() && ffi::reference_count(payload) == OURS + 1
            })
            && self.tls.as_ref().is_none_or(|tls| {
                let payload = tls.payload.bind(py);
                ffi::reference_count(payload) == OURS + 1 && tls.items.are_all_of(payload)
            })
    }

    fn set_headers(&mut self, py: Python<'_>, fields: Vec<Py<PyAny>>) -> PyResult<()> {
        self.headers = PyList::new(py, &fields)?.unbind();
        self.fields = fields;
        self.scope.bind(py).set_item(intern!(py, "headers"), &self.headers)
    }

    fn headers_are_untouched(&self, py: Python<'_>) -> bool {
        let headers = self.headers.bind(py);
        ffi::reference_count(headers) == OURS && ffi::has_items(headers, &self.fields)
    }
}

/// An address as `client` and `server` have it: (host, port), (path, None) or None (SCP-13, SCP-14).
fn address<'py>(py: Python<'py>, address: Option<&Address>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match address {
        Some(Address::Ip(address)) => (address.ip().to_string(), address.port()).into_pyobject(py)?.into_any(),
        Some(Address::Unix(path)) => (path, py.None()).into_pyobject(py)?.into_any(),
        Some(Address::Name(name, port)) => (name, *port).into_pyobject(py)?.into_any(),
        None => py.None().into_bound(py),
    })
}

impl TlsPayload {
    /// What the extension says of a connection (TLS-02 to TLS-07): no value in it can be changed.
    fn new(py: Python<'_>, tls: &Tls) -> PyResult<Self> {
        let facts = PyDict::new(py);
        facts.set_item(intern!(py, "server_cert"), tls.server_cert.as_deref())?;
        facts.set_item(intern!(py, "client_cert_chain"), PyTuple::new(py, &tls.client_cert_chain)?)?;
        facts.set_item(intern!(py, "client_cert_name"), tls.client_cert_name.as_deref())?;
        facts.set_item(intern!(py, "client_cert_error"), tls.client_cert_error.as_deref())?;
        facts.set_item(intern!(py, "tls_version"), tls.tls_version)?;
        facts.set_item(intern!(py, "cipher_suite"), tls.cipher_suite)?;
        Ok(Self { payload: facts.copy()?.unbind(), items: Items::of(&facts), facts: facts.unbind() })
    }
}

fn extension_names(extensions: Extensions) -> impl Iterator<Item = &'static str> {
    let names = [
        (extensions.pathsend, "http.response.pathsend"),
        (extensions.zerocopysend, "http.response.zerocopysend"),
        (extensions.early_hint, "http.response.early_hint"),
        (extensions.trailers, "http.response.trailers"),
        (extensions.denial_response, "websocket.http.response"),
    ];
    names.into_iter().filter_map(|(has, name)| has.then_some(name))
}
