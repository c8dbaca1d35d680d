//! Files over a disk that answers when the test says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asgi::{Address, Receive, ResponseStart, Scope, Send, SendError, SendEvent};

use super::reader::PART;
use super::{Ahead, Disk, Next, Order, Outcome, Reader, System};
use crate::host::{Config, Host, Problem};
use crate::listener::Listener;
use crate::tasks::Tasks;
use crate::worker::Worker;

mod http2;

const DEADLINE: Duration = Duration::from_secs(10);

/// Has nothing in memory. Each read tells where it begins and how long it is, and then waits to be let go on.
struct Slow {
    asked: Mutex<Sender<(u64, usize)>>,
    answers: Mutex<Receiver<io::Result<()>>>,
}

/// The test's side of it.
struct Hand {
    asked: Receiver<(u64, usize)>,
    answer: Sender<io::Result<()>>,
}

impl Slow {
    fn new() -> (Arc<Self>, Hand) {
        let (asks, asked) = channel();
        let (answer, answers) = channel();
        (Arc::new(Self { asked: Mutex::new(asks), answers: Mutex::new(answers) }), Hand { asked, answer })
    }
}

impl Disk for Slow {
    fn cached(&self, _: &File, _: u64, _: u64) -> io::Result<u64> {
        Ok(0)
    }

    fn look(&self, _: &File, _: u64, _: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(None)
    }

    fn read(&self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.asked.lock().unwrap().send((offset, buffer.len())).unwrap();
        self.answers.lock().unwrap().recv().unwrap_or(Ok(()))?;
        System.read(file, offset, buffer)
    }
}

impl Hand {
    fn asked(&self) -> (u64, usize) {
        self.asked.recv_timeout(DEADLINE).expect("a read")
    }

    fn answer(&self, result: io::Result<()>) {
        self.answer.send(result).unwrap();
    }
}

/// A file that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, length: usize) -> (Self, Vec<u8>) {
        let path = std::env::temp_dir().join(format!("ferricorn-files-{}-{name}", std::process::id()));
        let content: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        fs::write(&path, &content).unwrap();
        (Self(path), content)
    }

    fn open(&self) -> File {
        File::open(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Host for Log {
    fn poll_soon(&self) {}
    fn problem(&self, problem: &Problem) {
        self.0.lock().unwrap().push(problem.to_string());
    }
    fn accessed(&self, _: &[Box<crate::Access>]) {}
    fn drained(&self) {}
}

/// A worker on the test's thread, that serves the file at `/file` and else says hello.
struct Served<A: asgi::AsyncApplication> {
    worker: Rc<Worker<Tasks<A, Log>, Log>>,
    address: Address,
}

fn served(path: PathBuf, disk: Arc<dyn Disk>) -> Served<impl asgi::AsyncApplication> {
    let application = move |scope: Scope, _: Receive, send: Send| {
        let path = path.clone();
        let is_file = matches!(&scope, Scope::Http(http) if http.path == "/file");
        async move { respond(is_file.then_some(path), &send).await }
    };
    let listener = Listener::tcp("127.0.0.1", 0, 16).unwrap();
    let address = listener.address().clone();
    let tasks = Tasks::new(application);
    let worker = Rc::new(Worker::new(tasks, Log::default(), Config::default(), vec![listener]).unwrap());
    Tasks::attach(&worker).unwrap();
    worker.read_from(disk);
    Served { worker, address }
}

async fn respond(file: Option<PathBuf>, send: &Send) -> Result<(), SendError> {
    send.send(SendEvent::ResponseStart(ResponseStart { status: 200, ..ResponseStart::default() })).await?;
    match file {
        Some(path) => send.send(SendEvent::ResponsePathsend { path }).await,
        None => send.send(SendEvent::ResponseBody { body: b"hello".to_vec(), more_body: false }).await,
    }
}

impl<A: asgi::AsyncApplication> Served<A> {
    fn get(&self, path: &str) -> Client {
        let Address::Ip(address) = self.address else { panic!("{:?}", self.address) };
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        Client { socket, received: Vec::new(), end: None }
    }

    /// Runs the worker until it is so.
    fn run_until(&self, mut is_so: impl FnMut() -> bool) {
        let begin = std::time::Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < DEADLINE, "what was waited for does not come");
            self.worker.wait(Some(Duration::from_millis(1)));
        }
    }

    /// The body that the client gets until the connection ends, and the error where it does so badly.
    fn body(&self, mut client: Client) -> (Vec<u8>, Option<ErrorKind>) {
        self.run_until(|| client.has_ended());
        let text = client.received;
        let head = text.windows(4).position(|window| window == b"\r\n\r\n").map_or(text.len(), |at| at + 4);
        (text[head..].to_vec(), client.end.flatten())
    }

    fn problems(&self) -> Vec<String> {
        std::mem::take(&mut *self.worker.host().0.lock().unwrap())
    }
}

struct Client {
    socket: TcpStream,
    received: Vec<u8>,
    end: Option<Option<ErrorKind>>,
}

impl Client {
    fn has_ended(&mut self) -> bool {
        match self.socket.read_to_end(&mut self.received) {
            Ok(_) => self.end = Some(None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.end = Some(Some(error.kind())),
        }
        self.end.is_some()
    }
}

#[test]
fn others_are_served_while_a_file_is_read() {
    let (scratch, content) = Scratch::new("others", PART + 1000);
    let (disk, hand) = Slow::new();
    let served = served(scratch.0.clone(), disk);
    let waiting = served.get("/file");
    served.run_until(|| served.worker.calls() == 1);
    assert_eq!(hand.asked(), (0, PART));
    for _ in 0..3 {
        assert_eq!(served.body(served.get("/")), (b"hello".to_vec(), None));
    }
    hand.answer(Ok(()));
    hand.answer(Ok(()));
    let (body, end) = served.body(waiting);
    assert!(body == content, "{} of {}", body.len(), content.len());
    assert_eq!((end, hand.asked(), served.problems()), (None, (PART as u64, 1000), vec![]));
}

#[test]
fn a_file_that_ends_early_breaks_off_its_response_alone() {
    let (scratch, content) = Scratch::new("shorter", 3 * PART);
    let (disk, hand) = Slow::new();
    let served = served(scratch.0.clone(), disk);
    let broken = served.get("/file");
    served.run_until(|| served.worker.calls() == 1);
    hand.asked();
    // Between being read and being written, and before the next read.
    OpenOptions::new().write(true).open(&scratch.0).unwrap().set_len(PART as u64).unwrap();
    hand.answer(Ok(()));
    hand.answer(Ok(()));
    let (body, end) = served.body(broken);
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    assert!(body.len() <= PART && body == content[..body.len()], "{}", body.len());
    let problems = served.problems();
    let expected = format!(
        "broke off a response: a file that was promised up to byte {} has become shorter: nothing is left from byte {PART} on",
        3 * PART
    );
    assert!(problems.len() == 1 && problems[0].ends_with(&expected), "{problems:?}");
    assert_eq!(served.body(served.get("/")), (b"hello".to_vec(), None));
}

#[test]
fn a_file_that_cannot_be_read_breaks_off_its_response_alone() {
    let (scratch, _) = Scratch::new("unreadable", 1000);
    let (disk, hand) = Slow::new();
    let served = served(scratch.0.clone(), disk);
    hand.answer(Err(io::Error::other("bad sector")));
    assert_eq!(served.body(served.get("/file")).1, Some(ErrorKind::ConnectionReset));
    let problems = served.problems();
    let expected = "a file that was promised up to byte 1000 cannot be read at byte 0: bad sector";
    assert!(problems.len() == 1 && problems[0].ends_with(expected), "{problems:?}");
    assert_eq!(served.body(served.get("/")), (b"hello".to_vec(), None));
}

#[test]
fn a_client_that_leaves_while_its_file_is_read_leaves_nothing_behind() {
    let (scratch, _) = Scratch::new("left", 1000);
    let (disk, hand) = Slow::new();
    let served = served(scratch.0.clone(), disk);
    let leaving = served.get("/file");
    served.run_until(|| served.worker.calls() == 1);
    hand.asked();
    drop(leaving);
    served.run_until(|| served.worker.connections() == 0);
    // Another has its slot by the time the read is done, and gets nothing of it.
    let mut next = served.get("/file");
    served.run_until(|| served.worker.calls() == 2);
    hand.answer(Ok(()));
    hand.asked();
    served.worker.wait(Some(Duration::ZERO));
    assert!(!next.has_ended());
    hand.answer(Ok(()));
    assert_eq!(served.body(next).0.len(), 1000);
    assert_eq!(served.problems(), [""; 0]);
}

#[test]
fn the_thread_ends_with_its_reader() {
    let (scratch, content) = Scratch::new("ends", 1000);
    let (disk, hand) = Slow::new();
    let mut reader: Reader<u32> = Reader::new(disk);
    let (wake, woken) = channel();
    reader.order(7, order(&scratch, 100, 200), move || wake.send(()).unwrap());
    assert_eq!(hand.asked(), (100, 200));
    assert!(reader.take_done().is_empty());
    hand.answer(Ok(()));
    woken.recv_timeout(DEADLINE).unwrap();
    let done = reader.take_done();
    assert!(matches!(&done[..], [(7, Outcome::Bytes(bytes))] if *bytes == content[100..300]));
    // What the thread has of the disk goes with it.
    drop(reader);
    assert!(hand.asked.recv_timeout(DEADLINE).is_err());
}

fn order(scratch: &Scratch, offset: u64, count: usize) -> Order {
    Order { file: scratch.open(), offset, count, keep: true }
}

/// Reads a part to its end as its driver would, so much at a time.
fn copied(ahead: &mut Ahead, file: &File, mut offset: u64, mut remaining: u64, step: usize) -> Vec<u8> {
    let mut copied = Vec::new();
    let mut reader: Reader<()> = Reader::new(Arc::new(System));
    while remaining > 0 {
        let taken = match ahead.bytes(file, offset, remaining, &mut [0; 1000]) {
            Next::Bytes(bytes) => {
                let bytes = &bytes[..bytes.len().min(step)];
                copied.extend_from_slice(bytes);
                bytes.len()
            }
            Next::Later => {
                let order = ahead.take_order().unwrap();
                let (wake, woken) = channel();
                reader.order((), order, move || wake.send(()).unwrap());
                woken.recv_timeout(DEADLINE).unwrap();
                reader = finish(reader, ahead);
                continue;
            }
            Next::Ended => break,
            Next::File(_) | Next::Failed(_) => panic!("at {offset}"),
        };
        ahead.consume(taken);
        offset += taken as u64;
        remaining -= taken as u64;
    }
    copied
}

/// Gives what was done to `ahead`; the next order has a thread of its own.
fn finish(mut reader: Reader<()>, ahead: &mut Ahead) -> Reader<()> {
    reader.take_done().into_iter().for_each(|((), outcome)| ahead.finish(outcome));
    Reader::new(reader.disk())
}

#[test]
fn the_bytes_of_a_file_are_the_same_from_memory_and_from_the_disk() {
    let (scratch, content) = Scratch::new("same", 2 * PART + 77);
    let (slow, hand) = Slow::new();
    drop(hand.answer);
    for disk in [Arc::new(System) as Arc<dyn Disk>, slow] {
        for (offset, count, step) in [(0, content.len(), 999), (5, 2 * PART, 7777), (content.len() - 1, 1, 1)] {
            let mut ahead = Ahead::new(Arc::clone(&disk));
            let bytes = copied(&mut ahead, &scratch.open(), offset as u64, count as u64, step);
            assert!(bytes == content[offset..offset + count], "{offset} {count}");
        }
        let mut ahead = Ahead::new(disk);
        assert_eq!(copied(&mut ahead, &scratch.open(), 0, content.len() as u64 + 1, 100_000).len(), content.len());
    }
}

#[test]
fn what_is_in_memory_is_known() {
    let (scratch, _) = Scratch::new("known", 1 << 20);
    let file = scratch.open();
    file.sync_all().unwrap();
    let known = System.cached(&file, 0, 1 << 20).unwrap();
    let looked = System.look(&file, 0, &mut [0; 10]).unwrap();
    if looked.is_none() {
        // A file system that cannot tell: overlayfs, for one.
        return assert_eq!(known, 0);
    }
    assert_eq!((known, looked), (1 << 20, Some(10)));
    assert_eq!(System.cached(&file, (1 << 20) - 1, 1).unwrap(), 1);
    assert_eq!(System.cached(&file, 4096, 5000).unwrap(), 5000);
    assert_eq!(System.look(&file, 1 << 20, &mut [0; 10]).unwrap(), Some(0));
    assert_eq!(System.look(&file, 1 << 40, &mut [0; 10]).unwrap(), Some(0));
    assert_eq!(System.cached(&file, 1 << 20, 10).unwrap(), 0, "there is nothing");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    // On a file system in memory they stay there.
    let cold = System.cached(&file, 0, 1 << 20).unwrap();
    assert!(cold == 0 || cold == 1 << 20, "{cold}");
}
