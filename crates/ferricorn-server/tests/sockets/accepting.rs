//! Which worker accepts, where several listen on one socket.

use std::sync::atomic::AtomicU64;

use ferricorn_server::{Board, Config, Listener};

use crate::support::{Client, Direct};

/// Two workers on one socket, who see each other's number of connections.
fn pair() -> (Direct, Direct) {
    let cells: Vec<_> = (0..Board::cells_for(2)).map(|_| AtomicU64::new(0)).collect();
    let board = Board::new(cells.leak()).unwrap();
    let listener = Listener::tcp("127.0.0.1", 0, 128).unwrap();
    let shared = listener.duplicate().unwrap();
    let config = |worker| Config { row: board.row(worker).unwrap(), ..Config::default() };
    (Direct::on(listener, config(0)), Direct::on(shared, config(1)))
}

fn connect(direct: &Direct, count: usize) -> Vec<Client> {
    (0..count).map(|_| direct.connect()).collect()
}

#[test]
fn a_burst_is_accepted_in_parts_and_none_is_forgotten() {
    let direct = Direct::new(Config::default());
    let _clients = connect(&direct, 50);
    direct.worker.poll();
    assert_eq!(direct.worker.connections(), 4);
    // Readiness is told once: without another connection, the poller has nothing more to say.
    direct.run_until(None, |direct| direct.worker.connections() == 50);
}

#[test]
fn a_worker_that_does_not_come_leaves_its_connections_to_the_other() {
    let (awake, blocked) = pair();
    let _clients = connect(&awake, 30);
    awake.run_until(None, |awake| awake.worker.connections() == 30);
    assert_eq!(blocked.worker.connections(), 0);
    // And is let go first when it comes.
    let _more = connect(&awake, 20);
    blocked.run_until(None, |blocked| blocked.worker.connections() == 20);
    assert_eq!(awake.worker.connections(), 30);
}

#[test]
fn a_worker_that_has_ended_is_not_waited_for() {
    let (going, ended) = pair();
    ended.worker.close();
    let _clients = connect(&going, 4);
    going.run_until(None, |going| going.worker.connections() == 4);
    let _more = connect(&going, 4);
    going.worker.poll();
    assert_eq!(going.worker.connections(), 8);
}
