//! What workers count, in memory that other processes and threads can look at: a row of cells for each worker.
//!
//! Each cell has one writer, so counting is a load, an addition and a store, without an instruction that locks the bus;
//! who reads sees every value that was ever written whole. What a cell counts is told in `cells.rs`, how it is shown in
//! `metrics.rs`, where the memory comes from in `ferricorn-python/src/ffi.rs`: this file knows none of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cells::{CELLS, Cell, RESTARTS};
use crate::clock;

/// Why a worker was replaced, or one more was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It ended by itself, or something killed it.
    Crash,
    /// The operator asked for it, or a file has changed.
    Reload,
    /// It has served as many requests as it may.
    MaxRequests,
    /// It had grown too large.
    Memory,
    /// It had lived long enough.
    Lifetime,
    /// Its event loop did not come back.
    Stalled,
    /// The number of workers was changed.
    Scaled,
}

impl Restart {
    /// All reasons.
    pub const ALL: [Self; 7] =
        [Self::Crash, Self::Reload, Self::MaxRequests, Self::Memory, Self::Lifetime, Self::Stalled, Self::Scaled];

    /// Its name, as it stands in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Reload => "reload",
            Self::MaxRequests => "max_requests",
            Self::Memory => "memory",
            Self::Lifetime => "lifetime",
            Self::Stalled => "stalled",
            Self::Scaled => "scaled",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// How late the beat of an event loop is that counts as blocked.
const BLOCKED: Duration = Duration::from_millis(250);

type Cells = [AtomicU64; CELLS];

/// The cells of one worker. A clone is the same row.
#[derive(Clone)]
pub struct Row(Memory);

#[derive(Clone)]
enum Memory {
    Own(Arc<Cells>),
    Shared { cells: &'static Cells, workers: &'static [Cells] },
}

impl Default for Row {
    /// A row that nobody else sees.
    fn default() -> Self {
        Self(Memory::Own(Arc::new([const { AtomicU64::new(0) }; CELLS])))
    }
}

impl Row {
    fn cells(&self) -> &Cells {
        match &self.0 {
            Memory::Own(cells) => cells,
            Memory::Shared { cells, .. } => cells,
        }
    }

    /// Counts: to be called on one thread for each cell.
    #[inline]
    pub fn add(&self, cell: Cell, count: u64) {
        let cell = &self.cells()[cell.0];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Writes a value that goes up and down.
    #[inline]
    pub fn set(&self, cell: Cell, value: u64) {
        self.cells()[cell.0].store(value, Ordering::Relaxed);
    }

    /// The value as it is now.
    pub fn get(&self, cell: Cell) -> u64 {
        self.cells()[cell.0].load(Ordering::Relaxed)
    }

    /// How many connections that worker has who has the fewest of the others that accept and are not blocked. None: there
    /// is no other.
    pub(crate) fn fewest_connections(&self) -> Option<u64> {
        let Memory::Shared { cells, workers } = &self.0 else { return None };
        let now = clock::monotonic();
        let value = |other: &Cells, cell: Cell| other[cell.0].load(Ordering::Relaxed);
        let accepts = |other: &&Cells| {
            let late = Duration::from_nanos(now.saturating_sub(value(other, Cell::NEXT_BEAT)));
            value(other, Cell::ACCEPTING) != 0 && late < BLOCKED
        };
        let others = workers.iter().filter(|other| !std::ptr::eq(*other, *cells));
        others.filter(accepts).map(|other| value(other, Cell::CONNECTIONS)).min()
    }
}

/// The rows of all workers, in memory that they share. The first row is nobody's: in it are the sums of those that have
/// ended, and what the supervisor counts.
pub struct Board {
    rows: &'static [Cells],
    /// Held while a row moves into the sums of those that have ended, so that nobody adds it up twice.
    moving: Mutex<()>,
}

impl Board {
    /// How many cells a board of so many workers needs.
    pub const fn cells_for(workers: usize) -> usize {
        (workers + 1) * CELLS
    }

    /// A board over memory that is all zero, or was a board before. None where it is too small, or has another layout.
    pub fn new(memory: &'static [AtomicU64]) -> Option<Self> {
        let (rows, _) = memory.as_chunks();
        let layout = &rows.first()?[Cell::LAYOUT.0];
        let _ = layout.compare_exchange(0, CELLS as u64, Ordering::Relaxed, Ordering::Relaxed);
        (layout.load(Ordering::Relaxed) == CELLS as u64).then_some(Self { rows, moving: Mutex::new(()) })
    }

    /// How many workers it has rows for.
    pub fn workers(&self) -> usize {
        self.rows.len() - 1
    }

    /// The row of this worker, counted from 0.
    pub fn row(&self, worker: usize) -> Option<Row> {
        let workers = &self.rows[1..];
        Some(Row(Memory::Shared { cells: workers.get(worker)?, workers }))
    }

    /// The row of all workers that have ended, and of what the supervisor counts.
    fn ended(&self) -> Row {
        Row(Memory::Shared { cells: &self.rows[0], workers: &[] })
    }

    /// Adds what the row has counted to the sums of those that have ended, and zeroes it for the next worker. Its worker
    /// has ended; one process calls this, on one thread. A row that does not exist is none's.
    pub fn retire(&self, worker: usize) {
        let Some(row) = self.row(worker) else { return };
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = self.ended();
        for cell in (0..CELLS).map(Cell) {
            if cell.0 >= Cell::FIRST_COUNT.0 {
                ended.add(cell, row.get(cell));
            }
            row.set(cell, 0);
        }
    }

    /// Counts a restart: called by the supervisor alone.
    pub fn count_restart(&self, reason: Restart) {
        self.ended().add(RESTARTS.at(reason as usize), 1);
    }

    /// The sums of all rows.
    pub(crate) fn sums(&self) -> [u64; CELLS] {
        let _moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let sum =
            |cell: usize| self.rows.iter().map(|row| row[cell].load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        std::array::from_fn(sum)
    }

    /// By how much the next beat of a worker is late, where it is the latest.
    pub(crate) fn blocked(&self) -> Duration {
        let due =
            self.rows.iter().map(|row| row[Cell::NEXT_BEAT.0].load(Ordering::Relaxed)).filter(|due| *due != 0).min();
        Duration::from_nanos(due.map_or(0, |due| clock::monotonic().saturating_sub(due)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(workers: usize) -> Board {
        let memory: Vec<_> = (0..Board::cells_for(workers)).map(|_| AtomicU64::new(0)).collect();
        Board::new(memory.leak()).unwrap()
    }

    #[test]
    fn a_row_counts_and_is_seen_by_all_who_have_it() {
        let board = board(2);
        let (row, same) = (board.row(1).unwrap(), board.row(1).unwrap());
        row.add(Cell::LOOP_BEAT, 1);
        row.add(Cell::LOOP_BEAT, 2);
        row.set(Cell::WORKERS, 1);
        assert_eq!((same.get(Cell::LOOP_BEAT), same.get(Cell::WORKERS)), (3, 1));
        assert_eq!(board.row(0).unwrap().get(Cell::LOOP_BEAT), 0);
        assert!(board.row(2).is_none() && board.row(usize::MAX).is_none());
        assert_eq!(board.workers(), 2);
    }

    #[test]
    fn the_fewest_connections_of_the_others_that_accept() {
        let board = board(3);
        let rows: Vec<_> = (0..3).map(|worker| board.row(worker).unwrap()).collect();
        assert_eq!(rows[0].fewest_connections(), None);
        for (row, connections) in rows.iter().zip([1, 3, 2]) {
            row.set(Cell::CONNECTIONS, connections);
            row.set(Cell::ACCEPTING, 1);
            row.set(Cell::NEXT_BEAT, clock::monotonic() + 60_000_000_000);
        }
        assert_eq!(rows.iter().map(Row::fewest_connections).collect::<Vec<_>>(), [Some(2), Some(1), Some(1)]);
        rows[0].set(Cell::ACCEPTING, 0);
        assert_eq!(rows[1].fewest_connections(), Some(2));
        rows[0].set(Cell::ACCEPTING, 1);
        rows[0].set(Cell::NEXT_BEAT, clock::monotonic() - 1_000_000_000);
        assert_eq!(rows[1].fewest_connections(), Some(2), "the first one is blocked");
        board.retire(0);
        board.retire(2);
        assert_eq!((rows[1].fewest_connections(), Row::default().fewest_connections()), (None, None));
    }

    #[test]
    fn a_row_of_ones_own_is_nobody_elses() {
        let (one, other) = (Row::default(), Row::default());
        one.clone().add(Cell::NATIVE_BEAT, 1);
        assert_eq!((one.get(Cell::NATIVE_BEAT), other.get(Cell::NATIVE_BEAT)), (1, 0));
    }

    #[test]
    fn what_ended_workers_counted_stays_and_what_they_were_does_not() {
        let board = board(2);
        let counted = RESTARTS.at(0);
        for worker in [0, 1] {
            let row = board.row(worker).unwrap();
            row.add(counted, 5);
            row.add(Cell::LOOP_BEAT, 7);
            row.set(Cell::WORKERS, 1);
        }
        let before = board.sums()[counted.0];
        board.retire(0);
        board.retire(9);
        assert_eq!((before, board.sums()[counted.0]), (10, 10));
        assert_eq!((board.sums()[Cell::WORKERS.0], board.row(0).unwrap().get(Cell::LOOP_BEAT)), (1, 0));
        board.retire(0);
        assert_eq!(board.sums()[counted.0], 10);
    }

    /// A scrape that comes while a row moves counts it once: Prometheus takes a counter that goes down for one that began
    /// anew, and adds all of it again.
    #[test]
    fn sums_never_go_backward_while_workers_come_and_go() {
        let (board, counted) = (board(1), Cell::BYTES_SENT);
        std::thread::scope(|scope| {
            let workers = scope.spawn(|| {
                for _ in 0..1_000 {
                    board.row(0).unwrap().add(counted, 3);
                    board.retire(0);
                }
            });
            let mut last = 0;
            while !workers.is_finished() {
                let now = board.sums()[counted.0];
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        });
        assert_eq!(board.sums()[counted.0], 3_000);
    }

    #[test]
    fn the_latest_beat_is_the_one_that_is_told() {
        let board = board(3);
        assert_eq!(board.blocked(), Duration::ZERO);
        let now = clock::monotonic();
        board.row(0).unwrap().set(Cell::NEXT_BEAT, now + 60_000_000_000);
        assert_eq!(board.blocked(), Duration::ZERO);
        board.row(2).unwrap().set(Cell::NEXT_BEAT, now - 1_000_000);
        assert!(board.blocked() >= Duration::from_millis(1));
        board.retire(2);
        assert_eq!(board.blocked(), Duration::ZERO);
    }

    #[test]
    fn restarts_are_counted_by_reason() {
        let board = board(1);
        for reason in Restart::ALL {
            assert_eq!(Restart::from_name(reason.as_str()), Some(reason));
            board.count_restart(reason);
            board.count_restart(reason);
            assert_eq!(board.sums()[RESTARTS.at(reason as usize).0], 2);
        }
        assert_eq!(Restart::from_name("boredom"), None);
    }

    #[test]
    fn memory_of_another_layout_is_no_board() {
        let memory: &'static [AtomicU64] = Vec::new().leak();
        assert!(Board::new(memory).is_none());
        let memory: Vec<_> = (0..Board::cells_for(1)).map(|_| AtomicU64::new(0)).collect();
        let memory: &'static [AtomicU64] = memory.leak();
        assert!(Board::new(memory).is_some() && Board::new(memory).is_some());
        memory[0].store(1, Ordering::Relaxed);
        assert!(Board::new(memory).is_none());
    }
}
