//! The server over real sockets of the loopback, with applications in Rust: what holds without any Python.
//!
//! `support` has the ends: a server on a thread of its own (or on the test's, step by step), a client that reads what it
//! gets by the framing, and what tests and applications tell each other by. Nothing sleeps; what never comes fails after
//! `support::DEADLINE`.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

mod accepting;
mod bodies;
mod endings;
mod examples;
mod exchanges;
mod files;
mod health;
mod listeners;
mod proxies;
mod reports;
mod support;
mod websocket_steps;
mod websockets;
