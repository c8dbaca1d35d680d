//! HTTP/2, the server's side of a connection (RFC 9113).

pub mod hpack;
mod limits;

pub use limits::Limits;
