//! `serve` on a thread of its own.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use asgi::{Address, Receive, Scope, Send, SendError};
use ferricorn_server::{Config, Limits, Listener, Stop, serve};

use super::{Client, DEADLINE, Response};

/// A running server; it has to stop when it is dropped.
pub(crate) struct Server {
    pub(crate) addresses: Vec<Address>,
    stop: Stop,
    ended: Receiver<io::Result<()>>,
    has_ended: bool,
}

impl Server {
    /// Serves on a free port of 127.0.0.1.
    pub(crate) fn start<F, R>(app: F) -> Self
    where
        F: Fn(Scope, Receive, Send) -> R + std::marker::Send + 'static,
        R: Future<Output = Result<(), SendError>> + 'static,
    {
        Self::with(Limits::default, app)
    }

    /// The same with `limits`, which are made on the server's thread, where they stay.
    pub(crate) fn with<F, R>(limits: impl FnOnce() -> Limits + std::marker::Send + 'static, app: F) -> Self
    where
        F: Fn(Scope, Receive, Send) -> R + std::marker::Send + 'static,
        R: Future<Output = Result<(), SendError>> + 'static,
    {
        Self::on(vec![Listener::tcp("127.0.0.1", 0, 128).unwrap()], limits, app)
    }

    pub(crate) fn on<F, R>(
        listeners: Vec<Listener>,
        limits: impl FnOnce() -> Limits + std::marker::Send + 'static,
        app: F,
    ) -> Self
    where
        F: Fn(Scope, Receive, Send) -> R + std::marker::Send + 'static,
        R: Future<Output = Result<(), SendError>> + 'static,
    {
        let addresses = listeners.iter().map(|listener| listener.address().clone()).collect();
        let stop = Stop::default();
        let (end, ended) = channel();
        let stopped = stop.clone();
        thread::spawn(move || {
            let config = Config { limits: Rc::new(limits()), ..Config::default() };
            let _ = end.send(serve(app, config, listeners, &stopped));
        });
        Self { addresses, stop, ended, has_ended: false }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.addresses[0])
    }

    /// The response to `request` on a connection of its own.
    pub(crate) fn exchange(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.connect();
        client.send(request);
        client.response()
    }

    /// The head of that response; what follows it is left.
    pub(crate) fn exchange_head(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.connect();
        client.send(request);
        client.head().unwrap()
    }

    /// Asks it to stop, and returns at once.
    pub(crate) fn begin_stop(&self) {
        self.stop.stop();
    }

    /// Waits until `serve` has returned.
    pub(crate) fn join(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.ended.recv_timeout(DEADLINE).expect("the server stops").expect("without an error");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.begin_stop();
        // It looks about twice a second, or when something happens.
        let _ = Client::try_connect(&self.addresses[0]);
        if !thread::panicking() {
            self.join();
        }
    }
}
