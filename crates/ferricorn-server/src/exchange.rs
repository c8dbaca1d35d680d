//! What the worker keeps of an exchange beside what the protocol keeps: whether its application call runs, who waits, what
//! will be logged and counted. One connection of HTTP/1 has one after another, one of HTTP/2 many at once.

use std::rc::Rc;

use asgi::Wake;
use rustc_hash::FxHashMap;

use crate::access_log::Access;
use crate::counting::Begun;
use crate::proxies::Ends;

/// One exchange.
pub(crate) struct Exchange {
    /// Whether the application's call runs.
    pub(crate) running: bool,
    /// Whether the last `http.request` event has been given out.
    pub(crate) body_given: bool,
    pub(crate) receive_waiting: bool,
    /// Whether somebody who waited to receive has been woken, and will look at the input.
    pub(crate) receive_woken: bool,
    pub(crate) send_waiting: bool,
    /// Whether the last event that was sent found the send buffer above its high-water mark.
    pub(crate) send_blocked: bool,
    /// What its scope says of both ends.
    pub(crate) ends: Rc<Ends>,
    /// What the access log will say of it, until its response is finished.
    pub(crate) log: Option<Box<Access>>,
    /// The request whose response is to be counted.
    pub(crate) begun: Option<Begun>,
    /// Whether it is counted as an open WebSocket.
    pub(crate) is_websocket: bool,
}

impl Exchange {
    fn new(ends: Rc<Ends>) -> Self {
        Self {
            running: false,
            body_given: false,
            receive_waiting: false,
            receive_woken: false,
            send_waiting: false,
            send_blocked: false,
            ends,
            log: None,
            begun: None,
            is_websocket: false,
        }
    }

    /// What somebody waits for, who is to be told now.
    pub(crate) fn take_waits(&mut self) -> impl Iterator<Item = Wake> + use<> {
        let receive = std::mem::take(&mut self.receive_waiting).then_some(Wake::Receive);
        let send = std::mem::take(&mut self.send_waiting).then_some(Wake::Send);
        receive.into_iter().chain(send)
    }

    /// Whether somebody wants to know of the response.
    pub(crate) fn is_noted(&self) -> bool {
        self.log.is_some() || self.begun.is_some()
    }
}

/// The exchanges of one connection, by their numbers.
pub(crate) enum Running {
    /// Of HTTP/1: the one that is or was the last.
    One { sequence: u32, exchange: Exchange },
    /// Of HTTP/2, by stream: those whose calls have not ended.
    Many(FxHashMap<u32, Exchange>),
}

impl Running {
    /// Those of a connection that was just accepted.
    pub(crate) fn new(ends: &Rc<Ends>) -> Self {
        Self::One { sequence: 0, exchange: Exchange::new(Rc::clone(ends)) }
    }

    /// The connection speaks HTTP/2.
    pub(crate) fn become_many(&mut self) {
        *self = Self::Many(FxHashMap::default());
    }

    /// A request came in, on this stream in HTTP/2. Its number.
    pub(crate) fn begin(&mut self, stream: u32, ends: &Rc<Ends>) -> u32 {
        match self {
            Self::One { sequence, exchange } => {
                *sequence = sequence.wrapping_add(1);
                // Nobody waits for the last one: who did was woken at its end.
                exchange.body_given = false;
                if !Rc::ptr_eq(&exchange.ends, ends) {
                    exchange.ends = Rc::clone(ends);
                }
                *sequence
            }
            Self::Many(streams) => {
                streams.insert(stream, Exchange::new(Rc::clone(ends)));
                stream
            }
        }
    }

    /// The exchange with this number, unless it has given way to another.
    #[inline]
    pub(crate) fn get(&mut self, number: u32) -> Option<&mut Exchange> {
        match self {
            Self::One { sequence, exchange } => (*sequence == number).then_some(exchange),
            Self::Many(streams) => streams.get_mut(&number),
        }
    }

    /// Its call has ended. Of HTTP/2, that is the end of what is kept.
    pub(crate) fn end(&mut self, number: u32) -> Option<Exchange> {
        match self {
            Self::One { .. } => None,
            Self::Many(streams) => streams.remove(&number),
        }
    }

    /// Every exchange with its number.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = (u32, &mut Exchange)> {
        let (one, many) = match self {
            Self::One { sequence, exchange } => (Some((*sequence, exchange)), None),
            Self::Many(streams) => (None, Some(streams.iter_mut().map(|(number, exchange)| (*number, exchange)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The number of HTTP/1's exchange.
    pub(crate) fn current(&self) -> u32 {
        match self {
            Self::One { sequence, .. } => *sequence,
            Self::Many(_) => 0,
        }
    }
}
