//! What is needed of the application's event loop: tasks.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// An asyncio event loop, uvloop's included.
pub(crate) struct EventLoop {
    event_loop: Py<PyAny>,
    /// `asyncio.Task`, or the loop's `create_task` where a task factory is set.
    create_task: Py<PyAny>,
    task_arguments: Option<Py<PyDict>>,
}

impl EventLoop {
    pub(crate) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let object = event_loop.clone().unbind();
        if !event_loop.call_method0("get_task_factory")?.is_none() {
            let create_task = event_loop.getattr("create_task")?.unbind();
            return Ok(Self { event_loop: object, create_task, task_arguments: None });
        }
        let arguments = PyDict::new(py);
        arguments.set_item("loop", event_loop)?;
        if py.version_info() >= (3, 12) {
            // A call that never waits runs to its end at once, and never meets the loop's queue.
            arguments.set_item("eager_start", true)?;
        }
        let create_task = py.import("asyncio")?.getattr("Task")?.unbind();
        Ok(Self { event_loop: object, create_task, task_arguments: Some(arguments.unbind()) })
    }

    /// A task that runs the coroutine (CON-01): a genuine one, since frameworks key their cancel scopes on it.
    pub(crate) fn task<'py>(&self, py: Python<'py>, coroutine: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let arguments = self.task_arguments.as_ref().map(|arguments| arguments.bind(py));
        self.create_task.bind(py).call((coroutine,), arguments)
    }

    /// The loop itself.
    pub(crate) fn object(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }
}
