//! Python ASGI applications on the Ferricorn server: the native module `ferricorn._ferricorn`, whose documentation is
//! `python/ferricorn/_ferricorn.pyi`.
//!
//! It makes Python an [`asgi::Application`]: scope dicts, awaitables, tasks. It does not know sockets or protocols, and it
//! holds no global mutable state: everything hangs off a worker.

mod access_log;
mod application;
mod awaitable;
mod backstop;
mod board;
mod busiest;
mod dump;
mod event_loop;
mod exchange;
mod ffi;
mod host;
mod issue;
mod metrics;
mod options;
mod scope;
mod send;
mod stack;
mod task;
mod tls;
mod waiter;
mod watchdog;
mod worker;

/// The native part of Ferricorn.
#[pyo3::pymodule(gil_used = false)]
mod _ferricorn {
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    #[pymodule_export]
    use crate::access_log::check_access_log_format;
    #[pymodule_export]
    use crate::board::PyBoard;
    #[pymodule_export]
    use crate::issue::{issue_certificate, make_authority};
    #[pymodule_export]
    use crate::metrics::PyMetricsServer;
    #[pymodule_export]
    use crate::send::ClientDisconnected;
    #[pymodule_export]
    use crate::tls::PyTlsContext;
    #[pymodule_export]
    use crate::worker::{PyListener, PyWorker};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::ffi::shorten::<crate::awaitable::Awaitable>(module.py());
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("OPTION_NAMES", PyTuple::new(module.py(), crate::options::NAMES)?)?;
        module.add("TICK_SECONDS", ferricorn_server::TICK.as_secs_f64())
    }
}
