//! An example of this repository as a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use asgi::Address;

use super::{Client, DEADLINE};

/// Killed when it is dropped.
pub(crate) struct Example {
    child: Child,
    address: Address,
}

impl Example {
    /// Runs it as its first line says, on a free port, and waits until it serves.
    pub(crate) fn run(name: &str) -> Self {
        let mut child = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--example", name, "--", "127.0.0.1:0"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (tell, told) = channel();
        thread::spawn(move || tell.send(BufReader::new(output).lines().next()));
        // It may have to be built first.
        let line = told.recv_timeout(10 * DEADLINE).ok().flatten();
        let line = line.expect("the example says where it serves").unwrap();
        let address = line.strip_prefix("serving on http://").unwrap().parse().unwrap();
        Self { child, address: Address::Ip(address) }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
