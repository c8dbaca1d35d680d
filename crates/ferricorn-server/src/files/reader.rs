//! The thread that waits for the disk in place of the loop. One a worker, begun with the first read that would wait, and
//! ended with the worker. It holds a descriptor of its own for as long as it reads, and knows no connection: who asked is
//! a number that it gives back.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Disk;

/// What the thread reads at the most before the next in the queue has its turn. A connection holds no more of a file.
pub(super) const PART: usize = 256 * 1024;

/// A part of a file to be read.
pub(crate) struct Order {
    pub(super) file: File,
    pub(super) offset: u64,
    /// At most [`PART`].
    pub(super) count: usize,
    /// Whether the bytes are wanted; else that they are in memory is enough.
    pub(super) keep: bool,
}

/// What came of an order.
pub(crate) enum Outcome {
    /// So many bytes are in memory now: fewer than ordered where the file ends.
    Cached(usize),
    /// The bytes: fewer than ordered where the file ends.
    Bytes(Vec<u8>),
    Failed(io::Error),
}

/// Gives orders to its thread, and takes what came of them; `K` says whose they are.
pub(crate) struct Reader<K> {
    disk: Arc<dyn Disk>,
    orders: Option<Sender<(K, Order)>>,
    done: Arc<Mutex<Vec<(K, Outcome)>>>,
}

impl<K: Send + 'static> Reader<K> {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, orders: None, done: Arc::default() }
    }

    /// What it reads from.
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    /// Has a part of a file read; `wake` is called from the thread when [`Reader::take_done`] has what came of it. Where
    /// no thread can be had, it is read here and now.
    pub(crate) fn order(&mut self, whose: K, order: Order, wake: impl Fn() + Clone + Send + 'static) {
        if self.orders.is_none() {
            self.orders = self.begin(wake.clone());
        }
        let unsent = match &self.orders {
            Some(orders) => orders.send((whose, order)).err().map(|refused| refused.0),
            None => Some((whose, order)),
        };
        if let Some((whose, order)) = unsent {
            let outcome = fulfil(&*self.disk, &order, &mut Vec::new());
            lock(&self.done).push((whose, outcome));
            wake();
        }
    }

    /// Lets the thread end once it has done what was ordered.
    pub(crate) fn end(&mut self) {
        self.orders = None;
    }

    /// What has been done since the last call, or the last order.
    pub(crate) fn take_done(&mut self) -> Vec<(K, Outcome)> {
        std::mem::take(&mut *lock(&self.done))
    }

    fn begin(&self, wake: impl Fn() + Send + 'static) -> Option<Sender<(K, Order)>> {
        let (orders, ordered) = channel();
        let (disk, done) = (Arc::clone(&self.disk), Arc::clone(&self.done));
        let builder = thread::Builder::new().name("ferricorn-files".to_owned());
        builder.spawn(move || run(&*disk, &ordered, &done, wake)).ok().map(|_| orders)
    }
}

/// Reads until nobody can order any more. Nobody waits for its end: a disk may take its time.
fn run<K>(disk: &dyn Disk, orders: &Receiver<(K, Order)>, done: &Mutex<Vec<(K, Outcome)>>, wake: impl Fn()) {
    let mut scratch = Vec::new();
    while let Ok((whose, order)) = orders.recv() {
        let outcome = fulfil(disk, &order, &mut scratch);
        // Its descriptor goes before anybody hears of it.
        drop(order);
        lock(done).push((whose, outcome));
        wake();
    }
}

fn fulfil(disk: &dyn Disk, order: &Order, scratch: &mut Vec<u8>) -> Outcome {
    let mut bytes = if order.keep { Vec::new() } else { std::mem::take(scratch) };
    bytes.resize(order.count, 0);
    let result = disk.read(&order.file, order.offset, &mut bytes);
    match result {
        Ok(count) if order.keep => {
            bytes.truncate(count);
            Outcome::Bytes(bytes)
        }
        result => {
            *scratch = bytes;
            result.map_or_else(Outcome::Failed, Outcome::Cached)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
