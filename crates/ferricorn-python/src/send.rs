//! The application's event dicts, read and checked (HTTP-13 to HTTP-27, WS-04 to WS-13, ERR-01 to ERR-03). What may come
//! when is the protocol's to say.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::RawFd;
use std::path::PathBuf;

use asgi::{Headers, Message, ResponseStart, SendError, SendEvent};
use pyo3::exceptions::{PyKeyError, PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyString, PyTuple};
use pyo3::{create_exception, intern};

use crate::ffi;

create_exception!(
    ferricorn,
    ClientDisconnected,
    PyOSError,
    "Raised from `await send(...)` after the client has gone (HTTP-28)."
);

/// The head of the last response, and what it was made from.
#[derive(Default)]
pub(crate) struct Start {
    pub(crate) head: ResponseStart,
    /// The header tuples that `head.headers` was read from, where that was all immutable: an application that sends the
    /// same objects again, constants as a rule, has them neither checked nor written again.
    source: Vec<Py<PyAny>>,
}

/// How many header tuples are kept.
const SOURCE: usize = 32;

/// The bytes of a body or message, in the Python object that they came in.
pub(crate) enum Body {
    Bytes(PyBackedBytes),
    Text(PyBackedStr),
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

impl From<PyBackedStr> for Body {
    fn from(text: PyBackedStr) -> Self {
        Self::Text(text)
    }
}

/// What an application sends.
type Sending = SendEvent<Body, PyBackedStr>;

/// An event on its way to the worker.
pub(crate) enum Event {
    /// `http.response.start`, in the memory that the caller lent.
    Start,
    Other(Sending),
}

/// The items of an event that matter to most: found in one walk over the dict, which costs less than asking it for each.
#[derive(Default)]
struct Items<'py> {
    kind: Option<Bound<'py, PyAny>>,
    status: Option<Bound<'py, PyAny>>,
    headers: Option<Bound<'py, PyAny>>,
    body: Option<Bound<'py, PyAny>>,
    more_body: Option<Bound<'py, PyAny>>,
    trailers: Option<Bound<'py, PyAny>>,
    text: Option<Bound<'py, PyAny>>,
    bytes: Option<Bound<'py, PyAny>>,
}

impl<'py> Items<'py> {
    fn of(dict: &Bound<'py, PyDict>) -> Self {
        let mut items = Self::default();
        ffi::for_each_item(dict, |key, value| {
            if let Some(place) = items.place(&key) {
                *place = Some(value);
            }
        });
        items
    }

    /// Where the value of this key goes. A name that an application writes down is the interpreter's one object of that
    /// text, as a rule; what is not is told by its text.
    fn place(&mut self, key: &Bound<'py, PyAny>) -> Option<&mut Option<Bound<'py, PyAny>>> {
        let py = key.py();
        if key.is(intern!(py, "type")) {
            return Some(&mut self.kind);
        }
        if key.is(intern!(py, "body")) {
            return Some(&mut self.body);
        }
        if key.is(intern!(py, "status")) {
            return Some(&mut self.status);
        }
        if key.is(intern!(py, "headers")) {
            return Some(&mut self.headers);
        }
        if key.is(intern!(py, "text")) {
            return Some(&mut self.text);
        }
        self.place_by_text(key)
    }

    /// Keys that are no str, or unknown, are nobody's business (ERR-02).
    fn place_by_text(&mut self, key: &Bound<'py, PyAny>) -> Option<&mut Option<Bound<'py, PyAny>>> {
        Some(match key.cast::<PyString>().ok()?.to_str().ok()? {
            "type" => &mut self.kind,
            "text" => &mut self.text,
            "bytes" => &mut self.bytes,
            "status" => &mut self.status,
            "headers" => &mut self.headers,
            "body" => &mut self.body,
            "more_body" => &mut self.more_body,
            "trailers" => &mut self.trailers,
            _ => return None,
        })
    }
}

/// Reads an event; a response's start goes to `start`, whose memory is used again. `accepted`: of a WebSocket, that it was.
///
/// # Errors
/// TypeError, ValueError and KeyError for what is no valid event.
pub(crate) fn read(event: &Bound<'_, PyAny>, start: &RefCell<Start>, accepted: bool) -> PyResult<Event> {
    let Ok(dict) = event.cast::<PyDict>() else {
        return Err(PyTypeError::new_err(format!("an event is a dict, not {}", type_name(event))));
    };
    let items = Items::of(dict);
    let Some(kind) = &items.kind else { return Err(PyKeyError::new_err("an event needs 'type'")) };
    let Ok(kind) = kind.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!("an event's 'type' is a str, not {}", type_name(kind))));
    };
    match kind.to_str()? {
        "http.response.start" => {
            read_start(&items, start)?;
            Ok(Event::Start)
        }
        "http.response.body" => {
            let (body, more_body) = read_body(dict.py(), &items)?;
            Ok(Event::Other(SendEvent::ResponseBody { body, more_body }))
        }
        "websocket.send" => read_message(&items).map(Event::Other),
        // A close of a WebSocket that was not accepted becomes a 403, whatever its code and reason are (WS-11): FastAPI's
        // reason is a list of errors then.
        "websocket.close" if !accepted => {
            Ok(Event::Other(SendEvent::WebSocketClose { code: 1000, reason: String::new() }))
        }
        other if other.starts_with("websocket.") => read_websocket(other, dict, &items).map(Event::Other),
        other => read_extension(other, dict, &items).map(Event::Other),
    }
}

/// `websocket.send`: exactly one of text and bytes (WS-10); None is as good as absent.
fn read_message(items: &Items<'_>) -> PyResult<Sending> {
    let text = items.text.as_ref().filter(|text| !text.is_none());
    let body = items.bytes.as_ref().filter(|body| !body.is_none());
    match (text, body) {
        (Some(text), None) => Ok(SendEvent::WebSocketSend(Message::Text(read_text(text)?))),
        (None, Some(body)) => Ok(SendEvent::WebSocketSend(Message::Binary(Body::Bytes(bytes(body, "'bytes'")?)))),
        (None, None) => Err(PyValueError::new_err("'websocket.send' needs 'text' or 'bytes'")),
        (Some(_), Some(_)) => Err(PyValueError::new_err("'websocket.send' takes 'text' or 'bytes', not both")),
    }
}

fn read_text(text: &Bound<'_, PyAny>) -> PyResult<PyBackedStr> {
    if let Ok(text) = text.cast_exact::<PyString>() {
        return PyBackedStr::try_from(text.clone());
    }
    let Ok(text) = text.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!("'text' is a str, not {}", type_name(text))));
    };
    // As with bytes, no subclass.
    PyBackedStr::try_from(PyString::new(text.py(), text.to_str()?))
}

fn read_websocket(kind: &str, dict: &Bound<'_, PyDict>, items: &Items<'_>) -> PyResult<Sending> {
    let py = dict.py();
    match kind {
        "websocket.accept" => {
            let mut headers = Headers::new();
            read_headers(items, &mut headers)?;
            let subprotocol = match optional(dict, intern!(py, "subprotocol"))? {
                Some(name) => Some(read_text(&name).map_err(|_| expected_str("subprotocol", &name))?.to_string()),
                None => None,
            };
            Ok(SendEvent::WebSocketAccept { subprotocol, headers })
        }
        "websocket.close" => read_close(dict),
        "websocket.http.response.start" => {
            let mut start = ResponseStart { status: read_status(items, kind)?, ..ResponseStart::default() };
            read_headers(items, &mut start.headers)?;
            Ok(SendEvent::WebSocketResponseStart(start))
        }
        "websocket.http.response.body" => {
            let (body, more_body) = read_body(py, items)?;
            Ok(SendEvent::WebSocketResponseBody { body, more_body })
        }
        other => Err(PyValueError::new_err(format!("'{other}' is no event that an application sends"))),
    }
}

/// `websocket.close`: 1000 and no reason where nothing else is said (WS-12).
fn read_close(dict: &Bound<'_, PyDict>) -> PyResult<Sending> {
    let py = dict.py();
    let code = match optional(dict, intern!(py, "code"))? {
        // What does not fit is refused as what no close code is.
        Some(code) => {
            let number: i64 = code
                .extract()
                .map_err(|_| PyTypeError::new_err(format!("'code' is an int, not {}", type_name(&code))))?;
            u16::try_from(number).unwrap_or_default()
        }
        None => 1000,
    };
    let reason = match optional(dict, intern!(py, "reason"))? {
        Some(reason) => read_text(&reason).map_err(|_| expected_str("reason", &reason))?.to_string(),
        None => String::new(),
    };
    Ok(SendEvent::WebSocketClose { code, reason })
}

fn optional<'py>(dict: &Bound<'py, PyDict>, key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(dict.get_item(key)?.filter(|value| !value.is_none()))
}

fn expected_str(key: &str, value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("'{key}' is a str, not {}", type_name(value)))
}

fn read_extension(kind: &str, dict: &Bound<'_, PyDict>, items: &Items<'_>) -> PyResult<Sending> {
    let py = dict.py();
    match kind {
        "http.response.pathsend" => {
            let path: PathBuf = required(dict, intern!(py, "path"), "'http.response.pathsend'")?.extract()?;
            Ok(SendEvent::ResponsePathsend { path })
        }
        "http.response.zerocopysend" => read_zerocopysend(dict, items),
        "http.response.trailers" => {
            let mut headers = Headers::new();
            read_headers(items, &mut headers)?;
            let more_trailers = dict.get_item(intern!(py, "more_trailers"))?;
            Ok(SendEvent::ResponseTrailers { headers, more_trailers: flag(more_trailers.as_ref())? })
        }
        "http.response.early_hint" => {
            let links = required(dict, intern!(py, "links"), "'http.response.early_hint'")?;
            let links = links.try_iter()?.map(|link| Ok(bytes(&link?, "a link")?.to_vec())).collect::<PyResult<_>>()?;
            Ok(SendEvent::ResponseEarlyHint { links })
        }
        other => Err(PyValueError::new_err(format!("'{other}' is no event that an application sends"))),
    }
}

fn read_start(items: &Items<'_>, start: &RefCell<Start>) -> PyResult<()> {
    let status = read_status(items, "http.response.start")?;
    let repeated = items.headers.as_ref().is_some_and(|headers| start.borrow().was_read_from(headers));
    if !repeated {
        read_new_headers(items, start)?;
    }
    let mut start = start.borrow_mut();
    start.head.trailers = flag(items.trailers.as_ref())?;
    start.head.status = status;
    Ok(())
}

/// A number that is no status at all becomes 0, which is refused like others.
fn read_status(items: &Items<'_>, event: &str) -> PyResult<u16> {
    let Some(status) = &items.status else {
        return Err(PyKeyError::new_err(format!("'{event}' needs 'status'")));
    };
    let number: i64 =
        status.extract().map_err(|_| PyTypeError::new_err(format!("'status' is an int, not {}", type_name(status))))?;
    Ok(u16::try_from(number).unwrap_or_default())
}

fn read_new_headers(items: &Items<'_>, start: &RefCell<Start>) -> PyResult<()> {
    // Header iterables may run the application's code, so nothing is borrowed while they do.
    let mut headers = std::mem::take(&mut start.borrow_mut().head.headers);
    let mut source = std::mem::take(&mut start.borrow_mut().source);
    headers.clear();
    source.clear();
    let read = read_headers(items, &mut headers);
    if let (Ok(()), Some(list)) = (&read, items.headers.as_ref().and_then(|headers| headers.cast::<PyList>().ok()))
        && list.len() <= SOURCE
        && list.iter().all(|field| is_immutable(&field))
    {
        source.extend(list.iter().map(Bound::unbind));
    }
    let mut start = start.borrow_mut();
    start.head.headers = headers;
    start.source = source;
    read
}

impl Start {
    fn was_read_from(&self, headers: &Bound<'_, PyAny>) -> bool {
        headers.cast_exact::<PyList>().is_ok_and(|list| {
            !self.source.is_empty()
                && list.len() == self.source.len()
                && list.iter().zip(&self.source).all(|(field, kept)| field.is(kept))
        })
    }
}

/// Whether this is a tuple of two bytes, and no subclass that could answer differently the next time.
fn is_immutable(field: &Bound<'_, PyAny>) -> bool {
    field
        .cast_exact::<PyTuple>()
        .is_ok_and(|tuple| tuple.len() == 2 && tuple.iter_borrowed().all(|item| item.cast_exact::<PyBytes>().is_ok()))
}

fn read_body(py: Python<'_>, items: &Items<'_>) -> PyResult<(Body, bool)> {
    let body = match &items.body {
        Some(body) => bytes(body, "'body'")?,
        None => PyBackedBytes::from(PyBytes::new(py, b"")),
    };
    Ok((Body::Bytes(body), flag(items.more_body.as_ref())?))
}

fn read_zerocopysend(dict: &Bound<'_, PyDict>, items: &Items<'_>) -> PyResult<Sending> {
    let py = dict.py();
    let file = required(dict, intern!(py, "file"), "'http.response.zerocopysend'")?;
    let fd: RawFd = match file.extract() {
        Ok(fd) => fd,
        Err(_) => file.call_method0(intern!(py, "fileno"))?.extract()?,
    };
    let number = |name| -> PyResult<Option<u64>> {
        match dict.get_item(name)? {
            Some(value) if !value.is_none() => value.extract().map(Some),
            _ => Ok(None),
        }
    };
    // A buffered file object has read ahead: its own idea of the position is the one that counts.
    let mut offset = number(intern!(py, "offset"))?;
    if offset.is_none() && file.hasattr(intern!(py, "tell"))? {
        offset = Some(file.call_method0(intern!(py, "tell"))?.extract()?);
    }
    Ok(SendEvent::ResponseZerocopysend {
        file: File::from(ffi::duplicate_fd(fd)?),
        offset,
        count: number(intern!(py, "count"))?,
        more_body: flag(items.more_body.as_ref())?,
    })
}

/// Adds the fields of the event's `headers` (HDR-08): iterated once, whatever iterable it is.
fn read_headers(items: &Items<'_>, headers: &mut Headers) -> PyResult<()> {
    let Some(fields) = &items.headers else { return Ok(()) };
    if let Ok(list) = fields.cast::<PyList>() {
        for field in list.iter() {
            push_header(&field, headers)?;
        }
        return Ok(());
    }
    for field in fields.try_iter()? {
        push_header(&field?, headers)?;
    }
    Ok(())
}

fn push_header(field: &Bound<'_, PyAny>, headers: &mut Headers) -> PyResult<()> {
    if let Ok(tuple) = field.cast::<PyTuple>()
        && tuple.len() == 2
    {
        return push_pair(&*tuple.get_borrowed_item(0)?, &*tuple.get_borrowed_item(1)?, headers);
    }
    let mut items = field.try_iter()?;
    match (items.next().transpose()?, items.next().transpose()?, items.next().transpose()?) {
        (Some(name), Some(value), None) => push_pair(&name, &value, headers),
        _ => Err(PyValueError::new_err("a header is a name and a value")),
    }
}

fn push_pair(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, headers: &mut Headers) -> PyResult<()> {
    let result = match (name.cast::<PyBytes>(), value.cast::<PyBytes>()) {
        (Ok(name), Ok(value)) => headers.push(name.as_bytes(), value.as_bytes()),
        _ => headers.push(&bytes(name, "a header's name")?, &bytes(value, "a header's value")?),
    };
    result.map_err(|error| PyValueError::new_err(error.to_string()))
}

fn required<'py>(dict: &Bound<'py, PyDict>, key: &Bound<'py, PyString>, of: &str) -> PyResult<Bound<'py, PyAny>> {
    dict.get_item(key)?.ok_or_else(|| PyKeyError::new_err(format!("{of} needs '{key}'")))
}

/// A bool that is false where it is absent.
fn flag(value: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
    value.map_or(Ok(false), |value| value.is_truthy())
}

/// The bytes of a bytes, bytearray or memoryview (HTTP-26).
fn bytes(object: &Bound<'_, PyAny>, what: &str) -> PyResult<PyBackedBytes> {
    if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        return Ok(bytes.clone().into());
    }
    // A subclass may have a finaliser, which must not run where the worker lets go of what it has written.
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(PyBytes::new(object.py(), bytes.as_bytes()).into());
    }
    if let Ok(array) = object.cast::<PyByteArray>() {
        return Ok(array.clone().into());
    }
    let is_buffer = object.is_instance_of::<pyo3::types::PyMemoryView>();
    if !is_buffer {
        return Err(PyTypeError::new_err(format!("{what} is bytes, not {}", type_name(object))));
    }
    let copy = object.call_method0(intern!(object.py(), "tobytes"))?;
    Ok(copy.cast_into::<PyBytes>()?.into())
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "that".to_owned(), |name| name.to_string())
}

/// The exception for an event that was refused.
pub(crate) fn exception(event: &Bound<'_, PyAny>, error: SendError) -> PyErr {
    let text = error.to_string();
    match error {
        SendError::Disconnected => disconnected(),
        SendError::Status(_)
        | SendError::Header(_)
        | SendError::ContentLength
        | SendError::Subprotocol(_)
        | SendError::HandshakeHeader(_)
        | SendError::CloseCode(_)
        | SendError::CloseReason(_) => PyValueError::new_err(text),
        SendError::File(error) => {
            let path = event.get_item(intern!(event.py(), "path")).map(Bound::unbind).ok();
            os_error(event.py(), &error, path)
        }
        _ => PyRuntimeError::new_err(text),
    }
}

/// The exception for a client that is gone.
pub(crate) fn disconnected() -> PyErr {
    ClientDisconnected::new_err(SendError::Disconnected.to_string())
}

/// An OSError with its number and filename, of the class that its number asks for.
pub(crate) fn os_error(py: Python<'_>, error: &std::io::Error, filename: Option<Py<PyAny>>) -> PyErr {
    let text = error.to_string();
    // The number is an attribute in Python, and no part of the text.
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    let number = error.raw_os_error().or_else(|| match error.kind() {
        std::io::ErrorKind::AddrInUse => Some(libc::EADDRINUSE),
        std::io::ErrorKind::IsADirectory => Some(libc::EISDIR),
        std::io::ErrorKind::InvalidInput => Some(libc::EINVAL),
        _ => None,
    });
    let filename = filename.unwrap_or_else(|| py.None());
    match number {
        Some(number) => PyOSError::new_err((number, text, filename)),
        None => PyOSError::new_err((py.None(), text, filename)),
    }
}
