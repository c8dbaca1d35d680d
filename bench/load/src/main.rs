//! A closed-loop load client: each connection sends, waits until all of the answer is there, and sends again.
//!
//! Why not wrk alone: wrk registers and removes the write interest of a connection for every request and reads 8 KiB at a
//! time, which costs about as much per request as the fastest servers do, so that the client and not the server is what
//! gets measured. This client does one recv and one send, and knows no dynamic requests. And wrk knows no WebSocket, and no
//! connection that serves one request only.
//!
//! Every answer is checked; a wrong one, a closed connection included, is an error. The result is one line of JSON on
//! stdout.

mod frame;
mod gate;
mod handshake;
mod http;
mod message;
mod options;
mod outcome;
mod poller;
mod response;
mod script;
mod transport;
mod websocket;

use crate::options::{Options, Workload};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    match &options.workload {
        Workload::Http(http) => println!("{}", http::run(&options, http)?.json()),
        Workload::WebSocket(websocket) => websocket::run(&options, websocket)?,
    }
    Ok(())
}
