//! HTTP/2 from bytes to events and back: a connection driven without sockets, by a client that writes frames one by one.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, unreachable_pub, reason = "tests are outside, and may fail")]

mod closing;
mod errors;
mod floods;
mod flow;
mod found;
mod opposite;
mod priorities;
mod properties;
mod requests;
mod responses;
mod times;
mod websockets;

#[allow(dead_code, reason = "a client that can do more than its tests need")]
mod support;
