//! TLS (RFC 8446, RFC 5246) between a socket's bytes and a protocol's: rustls is named in this folder alone.
//!
//! A [`Context`] is what the connections of a server have in common, made of an operator's files. A `Stage` is what one
//! connection has of its own; `connection.rs` moves bytes through it.

mod certificates;
mod ciphers;
mod client_hello;
mod context;
mod der;
mod failure;
mod files;
pub mod issue;
mod stage;
mod tickets;

pub use context::{ClientCertificates, Context, ContextError, MinimumVersion, Pair, Settings};
pub use failure::Failure;
pub(crate) use stage::{BUFFER, Came, SealFault, Sealed, Stage};
