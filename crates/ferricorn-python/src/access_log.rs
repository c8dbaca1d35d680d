//! Where the lines of the access log go: to a thread that writes them to standard output, to the process as one text, or to
//! it as records. The process says which, and what that depends on; it is asked again as soon as that has changed, for
//! its loggers may change at any time. Formats nothing itself.

use std::cell::RefCell;

use ferricorn_server::{Access, AccessFormat, AccessLog, LogWriter};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::ffi;

/// What `Hooks.access_route` answers; [`COLOURS`] may be added to the last two.
const RECORDS: u8 = 0;
const TEXT: u8 = 1;
const COLOURS: u8 = 4;

/// How much memory is kept for the lines of the next turn, in bytes.
const MOST_KEPT: usize = 64 * 1024;

/// What the process has said, and what it depends on.
struct Route {
    kind: u8,
    colours: bool,
    /// Attributes that still have to be these objects: (the `__dict__` they are in, name, object).
    attributes: Vec<(Py<PyDict>, Py<PyString>, Py<PyAny>)>,
    /// Lists that still have to hold these objects.
    lists: Vec<(Py<PyList>, Vec<Py<PyAny>>)>,
}

impl Route {
    fn ask(py: Python<'_>, hooks: &Py<PyAny>) -> PyResult<Self> {
        let answer = hooks.call_method0(py, intern!(py, "access_route"))?;
        let (route, attributes, lists) = answer.extract::<(u8, Bound<'_, PyTuple>, Bound<'_, PyTuple>)>(py)?;
        Ok(Self {
            kind: route & !COLOURS,
            colours: route & COLOURS != 0,
            attributes: attributes.iter().map(|part| part.extract()).collect::<PyResult<_>>()?,
            lists: lists.iter().map(|part| part.extract()).collect::<PyResult<_>>()?,
        })
    }

    /// Whether the process would say the same again. Attributes take ten times as long as lists, which handlers and filters
    /// are added to: while lines of this route wait to be written, a few milliseconds, a look at the lists is enough.
    fn holds(&self, py: Python<'_>, wholly: bool) -> bool {
        let is_same = |(dict, name, object): &(Py<PyDict>, Py<PyString>, Py<PyAny>)| {
            dict.bind(py).get_item(name).is_ok_and(|found| found.is_some_and(|found| found.is(object)))
        };
        !self.attributes.is_empty()
            && (!wholly || self.attributes.iter().all(is_same))
            && self.lists.iter().all(|(list, objects)| ffi::has_items(list.bind(py), objects))
    }
}

/// The access log of one worker.
pub(crate) struct AccessOutput {
    route: RefCell<Option<Route>>,
    log: RefCell<AccessLog>,
    buffer: RefCell<Vec<u8>>,
    writer: LogWriter,
}

impl AccessOutput {
    pub(crate) fn new(format: &AccessFormat) -> Self {
        Self {
            route: RefCell::default(),
            log: RefCell::new(AccessLog::new(format.clone(), ffi::utc_offset)),
            buffer: RefCell::default(),
            writer: LogWriter::to_stdout(),
        }
    }

    /// Logs finished responses.
    pub(crate) fn log(&self, py: Python<'_>, hooks: &Py<PyAny>, accesses: &[Box<Access>]) -> PyResult<()> {
        let begins = self.writer.is_empty();
        let (kind, colours) = self.route(py, hooks, begins)?;
        if kind == RECORDS {
            return self.records(py, hooks, accesses);
        }
        // The process may come back here while it is told of lines, so it is told with nothing borrowed.
        let mut lines = self.buffer.take();
        let mut log = self.log.borrow_mut();
        accesses.iter().for_each(|access| log.write(access, colours, &mut lines));
        drop(log);
        let told = if kind == TEXT {
            let text = String::from_utf8_lossy(&lines);
            hooks.call_method1(py, intern!(py, "access_text"), (text,)).map(|_| ())
        } else {
            let printed =
                if begins { hooks.call_method0(py, intern!(py, "access_log_begins")).map(|_| ()) } else { Ok(()) };
            if !self.writer.append(&lines) {
                // Whoever reads what is written may need the interpreter for it.
                let writer = &self.writer;
                py.detach(|| writer.wait_for_room());
            }
            printed
        };
        lines.clear();
        lines.shrink_to(MOST_KEPT);
        self.buffer.replace(lines);
        told
    }

    /// Where the lines of this turn go, and whether they have colours.
    fn route(&self, py: Python<'_>, hooks: &Py<PyAny>, begins: bool) -> PyResult<(u8, bool)> {
        if let Some(route) = &*self.route.borrow()
            && route.holds(py, begins)
        {
            return Ok((route.kind, route.colours));
        }
        let asked = Route::ask(py, hooks)?;
        let answer = (asked.kind, asked.colours);
        self.route.replace(Some(asked));
        Ok(answer)
    }

    fn records(&self, py: Python<'_>, hooks: &Py<PyAny>, accesses: &[Box<Access>]) -> PyResult<()> {
        let fields: Vec<_> = accesses.iter().map(|access| fields(access)).collect();
        let mut log = self.log.borrow_mut();
        let lines = (!log.format().is_standard()).then(|| {
            let lines = accesses.iter().map(|access| {
                let mut line = Vec::new();
                log.write(access, false, &mut line);
                line.pop();
                String::from_utf8_lossy(&line).into_owned()
            });
            lines.collect::<Vec<_>>()
        });
        drop(log);
        hooks.call_method1(py, intern!(py, "accessed"), (fields, lines)).map(|_| ())
    }

    /// Writes what waits and ends the thread.
    pub(crate) fn close(&self, py: Python<'_>) {
        let writer = &self.writer;
        py.detach(|| writer.close());
    }

    /// Tells the process when writing has failed, or goes again.
    pub(crate) fn report(&self, py: Python<'_>, hooks: &Py<PyAny>) -> PyResult<()> {
        match self.writer.take_problem() {
            Some(problem) => hooks.call_method1(py, intern!(py, "access_log_failed"), (problem,)).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// The arguments of a record.
fn fields(access: &Access) -> (String, &str, String, &str, u16) {
    let client = access.client().map(ToString::to_string).unwrap_or_default();
    (client, access.method(), access.target(), access.http_version(), access.status())
}

/// Refuses a format that asks for what there is not, in words whose subject is the option.
#[pyfunction]
pub(crate) fn check_access_log_format(text: &str) -> PyResult<()> {
    let checked = AccessFormat::parse(text, "", false);
    checked.map(|_| ()).map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}
