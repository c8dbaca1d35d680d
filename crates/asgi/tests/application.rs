//! `receive` and `send` as applications hold them, over a server that is a script.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use asgi::{AsyncApplication, ExchangeId, Exchanges, Receive, ReceiveEvent, Scope, Send, SendError, SendEvent};

const EXCHANGE: ExchangeId = ExchangeId { slot: 1, generation: 2, sequence: 3 };

/// Gives out `events`; has room for `room` more events, and then is full.
#[derive(Default)]
struct Script {
    events: RefCell<VecDeque<ReceiveEvent>>,
    sent: RefCell<Vec<&'static str>>,
    room: Cell<usize>,
    gone: Cell<bool>,
}

impl Exchanges for Script {
    fn poll_receive(&self, exchange: ExchangeId, _: &mut Context<'_>) -> Poll<ReceiveEvent> {
        assert_eq!(exchange, EXCHANGE);
        self.events.borrow_mut().pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn send(&self, exchange: ExchangeId, event: SendEvent) -> Result<(), SendError> {
        assert_eq!(exchange, EXCHANGE);
        if self.gone.get() {
            return Err(SendError::Disconnected);
        }
        self.sent.borrow_mut().push(event.name());
        Ok(())
    }

    fn poll_sent(&self, exchange: ExchangeId, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        assert_eq!(exchange, EXCHANGE);
        match self.room.get() {
            _ if self.gone.get() => Poll::Ready(Err(SendError::Disconnected)),
            0 => Poll::Pending,
            room => {
                self.room.set(room - 1);
                Poll::Ready(Ok(()))
            }
        }
    }
}

fn body(bytes: &[u8], more_body: bool) -> ReceiveEvent {
    ReceiveEvent::Request { body: bytes.to_vec(), more_body }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn part() -> SendEvent {
    SendEvent::ResponseBody { body: b"part".to_vec(), more_body: true }
}

#[test]
fn con_08_a_receive_that_is_dropped_takes_no_event() {
    let script = Rc::new(Script::default());
    let receive = Receive::new(script.clone(), EXCHANGE);
    {
        let mut dropped = pin!(receive.receive());
        assert!(poll(dropped.as_mut()).is_pending());
        script.events.borrow_mut().push_back(body(b"first", true));
    }
    drop(receive.receive());
    assert_eq!(poll(pin!(receive.clone().receive())), Poll::Ready(body(b"first", true)));
    assert!(poll(pin!(receive.receive())).is_pending());
}

#[test]
fn http_16_send_waits_while_the_server_is_full() {
    let script = Rc::new(Script::default());
    let send = Send::new(script.clone(), EXCHANGE);
    let mut sending = pin!(send.send(part()));
    assert!(poll(sending.as_mut()).is_pending());
    assert!(poll(sending.as_mut()).is_pending());
    // It was given to the server at once, and once.
    assert_eq!(*script.sent.borrow(), ["http.response.body"]);
    script.room.set(1);
    assert!(matches!(poll(sending), Poll::Ready(Ok(()))));
}

#[test]
fn http_28_send_fails_where_the_client_goes_before_or_while_it_waits() {
    let script = Rc::new(Script::default());
    let send = Send::new(script.clone(), EXCHANGE);
    let mut sending = pin!(send.send(part()));
    assert!(poll(sending.as_mut()).is_pending());
    script.gone.set(true);
    assert!(matches!(poll(sending), Poll::Ready(Err(SendError::Disconnected))));
    assert!(matches!(poll(pin!(send.send(part()))), Poll::Ready(Err(SendError::Disconnected))));
    assert_eq!(script.sent.borrow().len(), 1);
}

async fn echo(_: Scope, receive: Receive, send: Send) -> Result<(), SendError> {
    send.send(SendEvent::ResponseStart(asgi::ResponseStart { status: 200, ..Default::default() })).await?;
    while let ReceiveEvent::Request { body, more_body } = receive.receive().await {
        send.send(SendEvent::ResponseBody { body, more_body }).await?;
        if !more_body {
            break;
        }
    }
    Ok(())
}

/// Runs the application on a script that has these events and is never full.
fn run(application: &impl AsyncApplication, events: &[ReceiveEvent]) -> (Poll<Result<(), SendError>>, Rc<Script>) {
    let script = Rc::new(Script { events: RefCell::new(events.to_vec().into()), ..Script::default() });
    script.room.set(usize::MAX);
    let (receive, send) = (Receive::new(script.clone(), EXCHANGE), Send::new(script.clone(), EXCHANGE));
    let ended = poll(pin!(application.call(scope(), receive, send)));
    (ended, script)
}

fn scope() -> Scope {
    Scope::Http(Box::new(asgi::HttpScope {
        http_version: asgi::HttpVersion::Http11,
        method: "POST".to_owned(),
        scheme: asgi::Scheme::Http,
        path: "/".to_owned(),
        raw_path: b"/".to_vec(),
        query_string: Vec::new(),
        root_path: String::new(),
        headers: asgi::Headers::new(),
        client: None,
        server: None,
        extensions: asgi::Extensions::default(),
        tls: None,
    }))
}

#[test]
fn async_functions_and_closures_are_applications() {
    let (ended, script) = run(&echo, &[body(b"a", true), body(b"b", false), ReceiveEvent::Disconnect]);
    assert!(matches!(ended, Poll::Ready(Ok(()))));
    assert_eq!(*script.sent.borrow(), ["http.response.start", "http.response.body", "http.response.body"]);
    assert_eq!(script.events.borrow().len(), 1);

    let greeting = "captured".to_owned();
    let closure = move |_: Scope, _: Receive, send: Send| {
        let body = greeting.clone().into_bytes();
        async move { send.send(SendEvent::ResponseBody { body, more_body: false }).await }
    };
    let (ended, script) = run(&closure, &[]);
    assert!(matches!(ended, Poll::Ready(Ok(()))));
    assert_eq!(*script.sent.borrow(), ["http.response.body"]);
}

#[test]
fn an_application_waits_for_what_has_not_come() {
    let (ended, script) = run(&echo, &[body(b"a", true)]);
    assert!(ended.is_pending());
    assert_eq!(script.sent.borrow().len(), 2);
}
