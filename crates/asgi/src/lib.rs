//! The ASGI interface in Rust: the scopes a server calls an application with, and the events both sides exchange.
//!
//! This crate is the vocabulary of every layer above it. It knows no protocol's bytes, no socket, no clock and no Python:
//! HTTP/1.1, HTTP/2 and HTTP/3 produce the same scopes and events, and a Rust application stands where a Python one does.
//!
//! An application comes in two shapes. [`Application`] is what a server drives: called with a borrowed scope and an
//! [`ExchangeId`], told by `wake` when something it waits for may go on. [`AsyncApplication`] is what people write:
//!
//! ```
//! use asgi::{Receive, Scope, Send, SendEvent, SendError};
//!
//! async fn hello(scope: Scope, _receive: Receive, send: Send) -> Result<(), SendError> {
//!     let Scope::Http(_) = scope else { return Ok(()) };
//!     let headers = asgi::Headers::from_iter([("content-type", "text/plain")])?;
//!     send.send(SendEvent::ResponseStart(asgi::ResponseStart { status: 200, headers, trailers: false })).await?;
//!     send.send(SendEvent::ResponseBody { body: b"Hello, world!".to_vec(), more_body: false }).await
//! }
//! # let _ = hello;
//! ```
//!
//! The ids in the documentation (`SCP-08`, `HTTP-21`, ...) number the requirements of the ASGI specification and name the
//! tests that hold them.
#![forbid(unsafe_code)]

mod application;
mod event;
mod headers;
mod scope;

pub use application::{Application, AsyncApplication, ExchangeId, Exchanges, Gather, Outcome, Receive, Send, Wake};
pub use event::{Message, ReceiveEvent, ResponseStart, SendError, SendEvent};
pub use headers::{Headers, InvalidHeader, KnownField};
pub use scope::{
    Address, Extensions, HttpScope, HttpVersion, SPEC_VERSION, Scheme, Scope, ScopeKind, ScopeRef, Tls, WebSocketScope,
};
