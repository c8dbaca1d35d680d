//! Files as response bodies: `http.response.pathsend` and `http.response.zerocopysend` (EXT-06 to EXT-10).

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;

use asgi::{Send, SendEvent};

use crate::support::{Gate, Journal, Scratch, Server, last, pattern, start, start_with};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Serves the file as the whole body; what `send` says.
fn pathsend(path: PathBuf) -> (Server, Journal<Option<String>>) {
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, _, send: Send| {
        let (path, note) = (path.clone(), note.clone());
        async move {
            send.send(start(200)).await?;
            let sent = send.send(SendEvent::ResponsePathsend { path }).await;
            // Nobody may listen any more.
            let _ = note.send(sent.as_ref().err().map(ToString::to_string));
            sent
        }
    });
    (server, journal)
}

#[test]
fn ext_08_pathsend_sends_the_whole_file() {
    let scratch = Scratch::new("pathsend");
    for length in [0, 1, 3 << 20] {
        let content = pattern(length);
        let (server, journal) = pathsend(scratch.file("file", &content));
        let mut client = server.connect();
        for _ in 0..3 {
            client.send(GET);
            assert!(client.response().body == content, "{length}");
            assert_eq!(journal.next(), None);
        }
    }
}

#[test]
fn ext_09_a_path_that_cannot_be_sent_is_an_error_of_send() {
    let scratch = Scratch::new("no-file");
    for path in [scratch.path().join("missing"), scratch.path().to_owned()] {
        let (server, journal) = pathsend(path);
        assert_eq!(server.exchange(GET).status, 500);
        let error = journal.next().unwrap();
        assert!(error.starts_with("the file to send cannot be read: "), "{error}");
    }
}

#[test]
fn ext_10_the_file_may_go_once_it_is_sent() {
    let scratch = Scratch::new("removed");
    let content = pattern(8 << 20);
    let path = scratch.file("file", &content);
    let (note, journal) = Journal::new();
    let server = Server::start(move |_, _, send: Send| {
        let (path, note) = (path.clone(), note.clone());
        async move {
            send.send(start(200)).await?;
            let sent = send.send(SendEvent::ResponsePathsend { path: path.clone() }).await;
            note.send(fs::remove_file(&path)).unwrap();
            sent
        }
    });
    let mut client = server.connect();
    client.send(GET);
    journal.next().unwrap();
    assert!(client.response().body == content);
}

#[test]
fn a_client_that_does_not_read_a_file_keeps_nobody_waiting() {
    let scratch = Scratch::new("unread");
    let (server, _journal) = pathsend(scratch.file("file", &pattern(32 << 20)));
    let mut slow = server.connect();
    slow.send(GET);
    assert_eq!(slow.head().unwrap().status, 200);
    assert_eq!(server.exchange_head(GET).status, 200);
    slow.reset();
}

#[test]
fn ext_06_zerocopysend_sends_parts_of_files_between_other_parts() {
    let scratch = Scratch::new("zerocopy");
    let content = pattern(200_000);
    let path = scratch.file("file", &content);
    let server = Server::start(move |_, _, send: Send| {
        let path = path.clone();
        async move {
            let part = |offset, count, more_body| {
                let mut file = File::open(&path).unwrap();
                file.seek(SeekFrom::Start(7)).unwrap();
                SendEvent::ResponseZerocopysend { file, offset, count, more_body }
            };
            send.send(start(200)).await?;
            send.send(part(Some(100_000), Some(50_000), true)).await?;
            send.send(crate::support::part("between")).await?;
            // From where the file stands, to its end.
            send.send(part(None, None, true)).await?;
            send.send(part(Some(199_999), Some(1_000), true)).await?;
            send.send(part(Some(300_000), None, false)).await
        }
    });
    let expected = [&content[100_000..150_000], b"between", &content[7..], &content[199_999..]].concat();
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(GET);
        assert!(client.response().body == expected);
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_breaks_the_response() {
    let scratch = Scratch::new("shrinking");
    let length = 64 << 20;
    let path = scratch.path().join("file");
    File::create(&path).unwrap().set_len(length).unwrap();
    let (gate, served) = (Gate::default(), path.clone());
    let opened = gate.clone();
    let server = Server::start(move |_, _, send: Send| {
        let (path, gate) = (served.clone(), opened.clone());
        async move {
            send.send(start_with(&[("content-length", &length.to_string())])).await?;
            let file = File::open(path).unwrap();
            let event = SendEvent::ResponseZerocopysend { file, offset: None, count: None, more_body: true };
            let sent = send.send(event).await;
            gate.passed().await;
            sent?;
            send.send(last("")).await
        }
    });
    let mut client = server.connect();
    client.send(GET);
    assert_eq!(client.head().unwrap().status, 200);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(1).unwrap();
    let received = client.rest().map(|body| body.len() as u64);
    assert!(received.is_err() || received.is_ok_and(|received| received < length));
    gate.open();
}
