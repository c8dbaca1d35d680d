//! Certificates for development, for `python/ferricorn/dev_cert.py`, which keeps them.

use ferricorn_server::tls::issue::{IssueError, Issued, Validity, authority, issue};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pyfunction]
pub(crate) fn make_authority(not_before: u64, not_after: u64) -> PyResult<(String, String)> {
    pair(authority(Validity { from: not_before, until: not_after }))
}

#[pyfunction]
pub(crate) fn issue_certificate(
    authority_key: &str,
    names: Vec<String>,
    not_before: u64,
    not_after: u64,
) -> PyResult<(String, String)> {
    pair(issue(authority_key, names, Validity { from: not_before, until: not_after }))
}

fn pair(issued: Result<Issued, IssueError>) -> PyResult<(String, String)> {
    let issued = issued.map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok((issued.certificate, issued.key))
}
