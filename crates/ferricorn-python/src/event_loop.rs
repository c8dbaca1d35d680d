//! What is needed of the application's event loop: tasks.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// An asyncio event loop, uvloop's included.
pub(crate) struct EventLoop {
    event_loop: Py<PyAny>,
    /// `asyncio.Task`, or the loop's `create_task` where a task factory is set.
    create_task: Py<PyAny>,
    task_arguments: Option<Py<PyDict>>,
    enter_task: Py<PyAny>,
    leave_task: Py<PyAny>,
}

impl EventLoop {
    pub(crate) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event_loop.py();
        let tasks = py.import("asyncio.tasks")?;
        let event_loop_with = |create_task: Bound<'_, PyAny>, task_arguments| {
            Ok(Self {
                event_loop: event_loop.clone().unbind(),
                create_task: create_task.unbind(),
                task_arguments,
                enter_task: tasks.getattr("_enter_task")?.unbind(),
                leave_task: tasks.getattr("_leave_task")?.unbind(),
            })
        };
        if !event_loop.call_method0("get_task_factory")?.is_none() {
            return event_loop_with(event_loop.getattr("create_task")?, None);
        }
        let arguments = PyDict::new(py);
        arguments.set_item("loop", event_loop)?;
        if py.version_info() >= (3, 12) {
            // A call that never waits runs to its end at once, and never meets the loop's queue.
            arguments.set_item("eager_start", true)?;
        }
        event_loop_with(tasks.getattr("Task")?, Some(arguments.unbind()))
    }

    /// A task that runs the coroutine (CON-01): a genuine one, since frameworks key their cancel scopes on it.
    pub(crate) fn task<'py>(&self, py: Python<'py>, coroutine: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let arguments = self.task_arguments.as_ref().map(|arguments| arguments.bind(py));
        self.create_task.bind(py).call((coroutine,), arguments)
    }

    /// Makes the task the current one, for who runs its coroutine in its place (asyncio documents both functions for
    /// implementations of tasks).
    ///
    /// # Errors
    /// RuntimeError where another task is the current one.
    pub(crate) fn enter(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        self.enter_task.bind(task.py()).call1((&self.event_loop, task)).map(drop)
    }

    /// The task is the current one no more.
    pub(crate) fn leave(&self, task: &Bound<'_, PyAny>) {
        if let Err(error) = self.leave_task.bind(task.py()).call1((&self.event_loop, task)) {
            error.write_unraisable(task.py(), Some(task));
        }
    }

    /// The loop itself.
    pub(crate) fn object(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }
}
