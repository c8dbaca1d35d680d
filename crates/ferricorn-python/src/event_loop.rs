//! What is needed of the application's event loop: tasks.

use std::cell::Cell;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// An asyncio event loop, uvloop's included.
pub(crate) struct EventLoop {
    event_loop: Py<PyAny>,
    /// `asyncio.Task`, or the loop's `create_task` where a task factory is set.
    create_task: Py<PyAny>,
    task_arguments: Option<Py<PyDict>>,
    current: Current,
}

/// How a task becomes the current one.
enum Current {
    /// By the functions that asyncio documents for other implementations of tasks.
    Functions { enter: Py<PyAny>, leave: Py<PyAny> },
    /// By the dict behind them, before Python 3.14: each of the functions takes 600 instructions for it. The entry stays from
    /// one task to the next.
    Tasks { tasks: Py<PyDict>, is_entered: Cell<bool> },
}

impl Current {
    fn new(tasks: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = tasks.py();
        if py.version_info() < (3, 14)
            && let Some(dict) = py.import("_asyncio")?.getattr_opt("_current_tasks")?
            && let Ok(dict) = dict.cast_into::<PyDict>()
        {
            return Ok(Self::Tasks { tasks: dict.unbind(), is_entered: Cell::new(false) });
        }
        let (enter, leave) = (tasks.getattr("_enter_task")?.unbind(), tasks.getattr("_leave_task")?.unbind());
        Ok(Self::Functions { enter, leave })
    }
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
                current: Current::new(&tasks)?,
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

    /// Makes the task the current one, for who runs its coroutine in its place while no task runs.
    ///
    /// # Errors
    /// RuntimeError where another task is the current one.
    pub(crate) fn enter(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        match &self.current {
            Current::Functions { enter, .. } => enter.bind(task.py()).call1((&self.event_loop, task)).map(drop),
            Current::Tasks { tasks, is_entered } => {
                let (tasks, event_loop) = (tasks.bind(task.py()), self.event_loop.bind(task.py()));
                if is_entered.get() {
                    return tasks.set_item(event_loop, task);
                }
                if !tasks.set_default(event_loop, task)? {
                    return Err(PyRuntimeError::new_err("another task runs"));
                }
                is_entered.set(true);
                Ok(())
            }
        }
    }

    /// The task need not be the current one any more; [`leave_last`](Self::leave_last) is to follow.
    pub(crate) fn leave(&self, task: &Bound<'_, PyAny>) {
        if let Current::Functions { leave, .. } = &self.current
            && let Err(error) = leave.bind(task.py()).call1((&self.event_loop, task))
        {
            error.write_unraisable(task.py(), Some(task));
        }
    }

    /// Before anything else runs: the last task that was entered is the current one no more.
    pub(crate) fn leave_last(&self, py: Python<'_>) {
        if let Current::Tasks { tasks, is_entered } = &self.current
            && is_entered.replace(false)
            && let Err(error) = tasks.bind(py).del_item(&self.event_loop)
        {
            error.write_unraisable(py, None);
        }
    }

    /// The loop itself.
    pub(crate) fn object(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }
}
