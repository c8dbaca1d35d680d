//! The echo of examples/websocket.py in Rust: `cargo run --release --example websocket [HOST:PORT]`.
//!
//! To talk to it: `pip install websockets`, then `python -m websockets ws://127.0.0.1:8000/`.

use asgi::{Headers, Receive, ReceiveEvent, Scope, Send, SendError, SendEvent};
use ferricorn_server::{Config, Listener, Stop, serve};

async fn app(scope: Scope, receive: Receive, send: Send) -> Result<(), SendError> {
    let Scope::WebSocket(_) = scope else { return Ok(()) };
    receive.receive().await; // ReceiveEvent::WebSocketConnect
    send.send(SendEvent::WebSocketAccept { subprotocol: None, headers: Headers::new() }).await?;
    while let ReceiveEvent::WebSocketReceive(message) = receive.receive().await {
        send.send(SendEvent::WebSocketSend(message)).await?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = Listener::bind(&address.parse()?, 2048)?;
    println!("serving on http://{listener}");
    serve(app, Config::default(), vec![listener], &Stop::default())?;
    Ok(())
}
