//! The other side: exchanges as tasks on the crate's handles.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::Cursor;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};

use super::exchange::{Answered, Exchange, Failure, fields_of, map_of};

/// What the crate holds body bytes in.
pub type Bytes = Cursor<Vec<u8>>;

/// When nothing moves any more, those who wait for that go on.
#[derive(Clone, Debug, Default)]
pub struct Idle(Rc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// How often nothing has moved.
    ticks: Cell<u64>,
    /// How many have waited for that since the last time.
    waiting: Cell<usize>,
}

impl Idle {
    /// Whether anybody waits; they go on now.
    pub fn tick(&self) -> bool {
        self.0.ticks.set(self.0.ticks.get() + 1);
        self.0.waiting.replace(0) > 0
    }

    /// Waits until nothing moves.
    pub async fn wait(&self) {
        let mut since = None;
        poll_fn(|_| if self.poll(&mut since) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// A task looks: it has waited since `since` if that is there. True: it may go on.
    pub fn poll(&self, since: &mut Option<u64>) -> bool {
        let now = self.0.ticks.get();
        if since.get_or_insert(now) != &now {
            *since = None;
            return true;
        }
        self.0.waiting.set(self.0.waiting.get() + 1);
        false
    }
}

/// A whole exchange; what was seen of it is put into `answered` as it comes.
pub async fn fetch(
    mut sender: SendRequest<Bytes>,
    exchange: Rc<Exchange>,
    number: usize,
    idle: Idle,
    answered: Rc<RefCell<Answered>>,
) {
    let result = async {
        poll_fn(|cx| sender.poll_ready(cx)).await?;
        let (response, stream) = sender.send_request(exchange.request(number), exchange.ends_with_head())?;
        join(send(stream, &exchange), receive(response, &exchange, &idle, &answered)).await
    };
    let failure = result.await.err().map(Failure::from);
    let mut answered = answered.borrow_mut();
    answered.failure = failure;
    answered.over = true;
}

/// The body and the trailers. The server may want no more of it: what becomes of the response says so.
async fn send(mut stream: SendStream<Bytes>, exchange: &Exchange) {
    if exchange.ends_with_head() {
        return;
    }
    for (index, part) in exchange.body.iter().enumerate() {
        let last = index + 1 == exchange.body.len() && exchange.trailers.is_empty();
        if stream.send_data(Cursor::new(part.clone()), last).is_err() {
            return;
        }
    }
    if !exchange.trailers.is_empty() {
        let _ = stream.send_trailers(map_of(&exchange.trailers));
    }
}

async fn receive(
    mut response: ResponseFuture,
    exchange: &Exchange,
    idle: &Idle,
    answered: &RefCell<Answered>,
) -> Result<(), h2::Error> {
    while let Some(interim) = poll_fn(|cx| response.poll_informational(cx)).await {
        let interim = interim?;
        answered.borrow_mut().interim.push((interim.status().as_u16(), fields_of(interim.headers())));
    }
    let (head, mut body) = response.await?.into_parts();
    answered.borrow_mut().status = head.status.as_u16();
    answered.borrow_mut().fields = fields_of(&head.headers);
    take(&mut body, exchange, idle, answered).await?;
    let trailers = poll_fn(|cx| body.poll_trailers(cx)).await?;
    answered.borrow_mut().trailers = trailers.as_ref().map(fields_of);
    Ok(())
}

/// The body; what was taken of it is given back in pieces, lazily or at once.
async fn take(
    body: &mut RecvStream,
    exchange: &Exchange,
    idle: &Idle,
    answered: &RefCell<Answered>,
) -> Result<(), h2::Error> {
    let (mut owed, mut since) = (0, None);
    poll_fn(|cx| {
        loop {
            if owed > 0 && (!exchange.lazy.1 || idle.poll(&mut since)) {
                let piece = owed.min(exchange.pieces);
                owed -= piece;
                // An error: the stream is over, and nothing has to be given back.
                let _ = body.flow_control().release_capacity(piece);
                continue;
            }
            match body.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Some(Ok(part))) => {
                    owed += part.len();
                    answered.borrow_mut().body.extend_from_slice(&part);
                }
            }
        }
    })
    .await
}

/// Both, side by side; what came of the second.
async fn join<T>(first: impl Future<Output = ()>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut is_done, mut result) = (false, None);
    poll_fn(|cx| {
        is_done = is_done || first.as_mut().poll(cx).is_ready();
        if result.is_none()
            && let Poll::Ready(output) = second.as_mut().poll(cx)
        {
            result = Some(output);
        }
        if is_done && result.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    result.unwrap()
}
