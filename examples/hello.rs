//! The hello of examples/hello.py in Rust: `cargo run --release --example hello [HOST:PORT]`.

use asgi::{Headers, Receive, ResponseStart, Scope, Send, SendError, SendEvent};
use ferricorn_server::{Config, Listener, Stop, serve};

async fn app(scope: Scope, _receive: Receive, send: Send) -> Result<(), SendError> {
    let Scope::Http(_) = scope else { return Ok(()) };
    let headers = Headers::from_iter([("content-type", "text/plain")])?;
    send.send(SendEvent::ResponseStart(ResponseStart { status: 200, headers, trailers: false })).await?;
    send.send(SendEvent::ResponseBody { body: b"Hello, world!\n".to_vec(), more_body: false }).await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = Listener::bind(&address.parse()?, 2048)?;
    println!("serving on http://{listener}");
    serve(app, Config::default(), vec![listener], &Stop::default())?;
    Ok(())
}
