//! What the tests put around a server.

mod client;
mod direct;
mod process;
mod scratch;
mod server;
mod signals;
pub(crate) mod websocket;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub(crate) use client::{Client, Response};
pub(crate) use direct::{Counted, Direct, FLOOD_PART, Owned};
pub(crate) use process::Example;
pub(crate) use scratch::Scratch;
pub(crate) use server::Server;
pub(crate) use signals::{Gate, Journal, first_of, once_pending};

use asgi::{Headers, Receive, ReceiveEvent, ResponseStart, Scope, Send, SendError, SendEvent};

/// How long a test waits for what has to come: never reached, but by a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The future of an application's call, where its type has to be named.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<(), SendError>>>>;

pub(crate) fn start(status: u16) -> SendEvent {
    SendEvent::ResponseStart(ResponseStart { status, ..ResponseStart::default() })
}

pub(crate) fn start_with(fields: &[(&str, &str)]) -> SendEvent {
    let headers = Headers::from_iter(fields.iter().copied()).unwrap();
    SendEvent::ResponseStart(ResponseStart { status: 200, headers, trailers: false })
}

pub(crate) fn part(body: impl Into<Vec<u8>>) -> SendEvent {
    SendEvent::ResponseBody { body: body.into(), more_body: true }
}

pub(crate) fn last(body: impl Into<Vec<u8>>) -> SendEvent {
    SendEvent::ResponseBody { body: body.into(), more_body: false }
}

/// The hello of the ASGI documentation.
pub(crate) async fn hello(_: Scope, _: Receive, send: Send) -> Result<(), SendError> {
    send.send(start_with(&[("content-type", "text/plain"), ("content-length", "13")])).await?;
    send.send(last("Hello, world!")).await
}

/// The echo of the ASGI documentation: each part as it comes.
pub(crate) async fn echo(_: Scope, receive: Receive, send: Send) -> Result<(), SendError> {
    send.send(start(200)).await?;
    loop {
        let ReceiveEvent::Request { body, more_body } = receive.receive().await else { return Ok(()) };
        send.send(SendEvent::ResponseBody { body, more_body }).await?;
        if !more_body {
            return Ok(());
        }
    }
}

/// Bytes in which a lost, doubled or swapped part shows: no period that a buffer has.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

pub(crate) fn path(scope: &Scope) -> String {
    match scope {
        Scope::Http(http) => http.path.clone(),
        Scope::WebSocket(websocket) => websocket.path.clone(),
        _ => String::new(),
    }
}
