//! The opposite end is the client of the `h2` crate, which shares no line with ours: what it sends is what our side gives its
//! application, and the other way round, to the byte. Both are driven by hand, in memory: no runtime, no socket, no waiting.
//!
//! `exchange`: what both sides mean to send, and what the other is to see of it. `wire`: bytes on their way, cut as a test
//! wants. `application`: our side, which answers by the path. `client`: the other side. `world`: all of it, until nothing
//! moves any more.

mod application;
mod bodies;
mod client;
mod endings;
mod exchange;
mod fields;
mod random;
mod websockets;
mod wire;
mod world;
