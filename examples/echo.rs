//! The echo of examples/echo.py in Rust: `cargo run --release --example echo [HOST:PORT]`.

use asgi::{Receive, ReceiveEvent, ResponseStart, Scope, Send, SendError, SendEvent};
use ferricorn_server::{Config, Listener, Stop, serve};

async fn app(scope: Scope, receive: Receive, send: Send) -> Result<(), SendError> {
    let Scope::Http(_) = scope else { return Ok(()) };
    send.send(SendEvent::ResponseStart(ResponseStart { status: 200, ..ResponseStart::default() })).await?;
    loop {
        let ReceiveEvent::Request { body, more_body } = receive.receive().await else { return Ok(()) };
        send.send(SendEvent::ResponseBody { body, more_body }).await?;
        if !more_body {
            return Ok(());
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = Listener::bind(&address.parse()?, 2048)?;
    println!("serving on http://{listener}");
    serve(app, Config::default(), vec![listener], &Stop::default())?;
    Ok(())
}
