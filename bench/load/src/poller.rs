//! Readiness of many sockets, each under the number of its slot. Edge-triggered with both interests, so that no
//! `epoll_ctl` is needed ever after.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Of one wait.
const EVENTS: usize = 1024;

pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    /// Makes the socket non-blocking.
    pub fn add(&self, stream: &TcpStream, slot: usize) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, stream, epoll::EventData::new_u64(slot as u64), interest)?)
    }

    /// The slots of the sockets that have become ready; none when `timeout` has passed or a signal came.
    pub fn wait(&mut self, timeout: &Timespec) -> io::Result<impl Iterator<Item = usize>> {
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        Ok(self.events.drain(..).map(|event| usize::try_from(event.data.u64()).unwrap_or(usize::MAX)))
    }
}
