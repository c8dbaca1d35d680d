//! WebSocket sessions from outside: RFC 6455 and RFC 7692, rule by rule.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod closing;
mod deflate;
mod frames;
mod handshake;
mod keepalive;
mod properties;
mod receiving;
mod support;
