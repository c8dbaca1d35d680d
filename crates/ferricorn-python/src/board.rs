//! The class `Board`: what all workers count, in memory that their processes share. Its documentation is in
//! `_ferricorn.pyi`, what its cells are in `ferricorn-server/src/board.rs`.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use ferricorn_server::{Board, Cell, Format, Restart, Row};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;

use crate::ffi;
#[cfg(target_os = "linux")]
use crate::ffi::memory_file;

/// What all workers count.
#[pyclass(frozen, module = "ferricorn", name = "Board")]
pub(crate) struct PyBoard {
    pub(crate) board: Arc<Board>,
    file: File,
}

#[pymethods]
impl PyBoard {
    #[new]
    fn new(rows: u32) -> PyResult<Self> {
        let bytes = Board::cells_for(rows as usize) * size_of::<u64>();
        Self::over(memory_file(bytes as u64)?)
    }

    #[staticmethod]
    fn attach(fd: RawFd) -> PyResult<Self> {
        Self::over(ffi::duplicate_fd(fd)?.into())
    }

    fn fileno(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    #[getter]
    fn rows(&self) -> usize {
        self.board.workers()
    }

    fn beats(&self, row: usize) -> PyResult<(u64, u64)> {
        let row = self.row(row)?;
        Ok((row.get(Cell::NATIVE_BEAT), row.get(Cell::LOOP_BEAT)))
    }

    fn retire(&self, row: usize) -> PyResult<()> {
        self.row(row)?;
        self.board.retire(row);
        Ok(())
    }

    fn count_restart(&self, reason: &str) -> PyResult<()> {
        let reason = Restart::from_name(reason)
            .ok_or_else(|| PyValueError::new_err(format!("no worker is restarted for the reason {reason:?}")))?;
        self.board.count_restart(reason);
        Ok(())
    }

    #[pyo3(signature = (*, openmetrics = false))]
    fn render(&self, openmetrics: bool) -> String {
        self.board.render(if openmetrics { Format::OpenMetrics } else { Format::Prometheus })
    }
}

impl PyBoard {
    fn over(file: File) -> PyResult<Self> {
        let board = Board::new(ffi::shared_memory(&file)?)
            .ok_or_else(|| PyValueError::new_err("the descriptor is no board of this version of ferricorn"))?;
        Ok(Self { board: Arc::new(board), file })
    }

    /// The cells of this worker.
    pub(crate) fn row(&self, row: usize) -> PyResult<Row> {
        let workers = self.board.workers();
        self.board.row(row).ok_or_else(|| PyIndexError::new_err(format!("the board has {workers} rows, and no {row}")))
    }
}

/// As the one of Linux, but that its size could be changed by whoever finds it before it has lost its name.
#[cfg(not(target_os = "linux"))]
fn memory_file(bytes: u64) -> std::io::Result<File> {
    use std::io::ErrorKind;
    for number in 0.. {
        let path = std::env::temp_dir().join(format!("ferricorn-board-{}-{number}", std::process::id()));
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                std::fs::remove_file(&path)?;
                file.set_len(bytes)?;
                return Ok(file);
            }
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}
