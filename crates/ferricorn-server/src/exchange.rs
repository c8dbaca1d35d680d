//! What the worker keeps of an exchange beside what the protocol keeps: whether its application call runs, who waits, what
//! will be logged and counted. One connection of HTTP/1 has one after another, one of HTTP/2 many at once.

use std::rc::Rc;

use asgi::Wake;

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
    Many(Table),
}

impl Running {
    /// Those of a connection that was just accepted.
    pub(crate) fn new(ends: &Rc<Ends>) -> Self {
        Self::One { sequence: 0, exchange: Exchange::new(Rc::clone(ends)) }
    }

    /// The connection speaks HTTP/2.
    pub(crate) fn become_many(&mut self) {
        *self = Self::Many(Table::default());
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
            Self::Many(streams) => streams.get_mut(number),
        }
    }

    /// Its call has ended. Of HTTP/2, that is the end of what is kept.
    pub(crate) fn end(&mut self, number: u32) -> Option<Exchange> {
        match self {
            Self::One { .. } => None,
            Self::Many(streams) => streams.remove(number),
        }
    }

    /// Every exchange with its number.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = (u32, &mut Exchange)> {
        let (one, many) = match self {
            Self::One { sequence, exchange } => (Some((*sequence, exchange)), None),
            Self::Many(streams) => (None, Some(streams.iter_mut())),
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

/// Exchanges by their streams. Numbers of streams only grow, two at a time: modulo the size of the table, those of a busy
/// connection lie side by side, and are found without a hash.
#[derive(Default)]
pub(crate) struct Table {
    /// Each stands where its number says, or behind that where others stand. As long as a power of two, and at most half
    /// full.
    places: Vec<Option<(u32, Exchange)>>,
    used: usize,
}

impl Table {
    fn mask(&self) -> usize {
        self.places.len().wrapping_sub(1)
    }

    /// Where the stream's exchange stands.
    fn find(&self, number: u32) -> Option<usize> {
        let mut place = home(number) & self.mask();
        loop {
            let (kept, _) = self.places.get(place)?.as_ref()?;
            if *kept == number {
                return Some(place);
            }
            place = (place + 1) & self.mask();
        }
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Exchange> {
        let place = self.find(number)?;
        self.places[place].as_mut().map(|(_, exchange)| exchange)
    }

    /// The stream must have none yet.
    fn insert(&mut self, number: u32, exchange: Exchange) {
        self.used += 1;
        if self.used * 2 > self.places.len() {
            self.grow();
        }
        self.place(number, exchange);
    }

    fn grow(&mut self) {
        let size = (self.places.len() * 2).max(16);
        let before = std::mem::take(&mut self.places);
        self.places.resize_with(size, || None);
        for (number, exchange) in before.into_iter().flatten() {
            self.place(number, exchange);
        }
    }

    fn place(&mut self, number: u32, exchange: Exchange) {
        let mut place = home(number) & self.mask();
        while self.places[place].is_some() {
            place = (place + 1) & self.mask();
        }
        self.places[place] = Some((number, exchange));
    }

    fn remove(&mut self, number: u32) -> Option<Exchange> {
        let mut place = self.find(number)?;
        let (_, removed) = self.places[place].take()?;
        self.used -= 1;
        // What stands behind it moves up, unless it stands where it is looked for first.
        let mut next = place;
        loop {
            next = (next + 1) & self.mask();
            let Some((number, _)) = &self.places[next] else { return Some(removed) };
            let home = home(*number);
            if next.wrapping_sub(home) & self.mask() >= next.wrapping_sub(place) & self.mask() {
                self.places.swap(place, next);
                place = next;
            }
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Exchange)> {
        self.places.iter_mut().flatten().map(|(number, exchange)| (*number, exchange))
    }
}

/// Streams of clients have odd numbers.
const fn home(number: u32) -> usize {
    (number >> 1) as usize
}

#[cfg(test)]
mod tests {
    use asgi::Address;

    use super::*;

    /// Exchanges that begin and end in any order are found, and no others.
    #[test]
    fn exchanges_are_found_by_their_streams() {
        let ends = Rc::new(Ends::new(None, Address::Name("server".into(), 80)));
        let mut table = Table::default();
        let mut open = Vec::new();
        let mut random = 1_u32;
        for step in 0..2000_u32 {
            // Far apart now and then, so that they collide.
            let number = step * if step % 7 == 0 { 64 } else { 2 } + 1 + 200_000 * (step % 7).min(1);
            table.insert(number, Exchange::new(Rc::clone(&ends)));
            open.push(number);
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            while open.len() > 1 + (random >> 16) as usize % 60 {
                let number = open.swap_remove((random >> 8) as usize % open.len());
                assert!(table.remove(number).is_some() && table.remove(number).is_none());
            }
            assert!(open.iter().all(|&number| table.get_mut(number).is_some()));
            assert_eq!(table.iter_mut().count(), open.len());
        }
        assert!(table.places.len() <= 256);
    }
}
