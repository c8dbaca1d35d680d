//! Reading responses out of a stream of bytes, however it is split (RFC 9112 section 6, as far as a 200 needs it).

use std::io::{self, ErrorKind};

use httparse::Status;

/// Whether the bytes fed so far complete a response.
#[derive(Debug, PartialEq)]
pub enum Progress {
    /// All bytes were taken; the response goes on.
    More,
    /// The response ended after the first `consumed` of the bytes fed.
    Complete { consumed: usize },
}

#[derive(Clone, Copy)]
enum State {
    Head,
    /// A body of known length, with so many bytes to come.
    Sized(u64),
    ChunkSize,
    /// The bytes to come of a chunk and its line end.
    ChunkData(u64),
    /// The line end after the last chunk; trailers are not understood.
    LastLine,
}

pub struct ResponseReader {
    expected_body: u64,
    state: State,
    body: u64,
    /// A head or a chunk's size line of which the end has not come yet.
    partial: Vec<u8>,
}

enum Step {
    /// So many bytes belong to what was read; the state has moved on.
    Taken(usize),
    /// The end of a line or of the head has not come yet.
    Incomplete,
    /// The response ends after so many bytes.
    End(usize),
}

impl ResponseReader {
    pub fn new(expected_body: u64) -> Self {
        Self { expected_body, state: State::Head, body: 0, partial: Vec::new() }
    }

    /// Fails where the status is not 200, the body has another length than expected, or the bytes are not HTTP/1.1.
    pub fn feed(&mut self, bytes: &[u8]) -> io::Result<Progress> {
        if self.partial.is_empty() {
            return self.read(bytes);
        }
        let held = self.partial.len();
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        Ok(match self.read(&joined)? {
            Progress::Complete { consumed } => Progress::Complete { consumed: consumed - held },
            Progress::More => Progress::More,
        })
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<Progress> {
        let mut at = 0;
        loop {
            match self.step(&bytes[at..])? {
                Step::Taken(0) => return Ok(Progress::More),
                Step::Taken(taken) => at += taken,
                Step::End(taken) => return self.end(at + taken),
                Step::Incomplete => {
                    self.partial.extend_from_slice(&bytes[at..]);
                    return Ok(Progress::More);
                }
            }
        }
    }

    fn end(&mut self, consumed: usize) -> io::Result<Progress> {
        if self.body != self.expected_body {
            return Err(invalid(format!("a body of {} bytes, expected {}", self.body, self.expected_body)));
        }
        self.state = State::Head;
        self.body = 0;
        Ok(Progress::Complete { consumed })
    }

    fn step(&mut self, bytes: &[u8]) -> io::Result<Step> {
        match self.state {
            State::Head => self.head(bytes),
            State::Sized(left) => Ok(self.sized(left, bytes)),
            State::ChunkSize => self.chunk_size(bytes),
            State::ChunkData(left) => Ok(self.chunk_data(left, bytes)),
            State::LastLine => last_line(bytes),
        }
    }

    fn head(&mut self, bytes: &[u8]) -> io::Result<Step> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let Status::Complete(length) = response.parse(bytes).map_err(invalid)? else { return Ok(Step::Incomplete) };
        if response.code != Some(200) {
            return Err(invalid(format!("status {:?}", response.code)));
        }
        let named = |name: &str| response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        if named("transfer-encoding").is_some() {
            self.state = State::ChunkSize;
            return Ok(Step::Taken(length));
        }
        let text = named("content-length").ok_or_else(|| invalid("a response without a length"))?.value;
        let body = std::str::from_utf8(text).map_err(invalid)?.parse().map_err(invalid)?;
        self.body = body;
        self.state = State::Sized(body);
        Ok(if body == 0 { Step::End(length) } else { Step::Taken(length) })
    }

    fn sized(&mut self, left: u64, bytes: &[u8]) -> Step {
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if taken as u64 == left {
            return Step::End(taken);
        }
        self.state = State::Sized(left - taken as u64);
        Step::Taken(taken)
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> io::Result<Step> {
        match httparse::parse_chunk_size(bytes).map_err(|_| invalid("a malformed chunk size"))? {
            Status::Partial => Ok(Step::Incomplete),
            Status::Complete((taken, 0)) => {
                self.state = State::LastLine;
                Ok(Step::Taken(taken))
            }
            Status::Complete((taken, size)) => {
                self.body += size;
                self.state = State::ChunkData(size + 2);
                Ok(Step::Taken(taken))
            }
        }
    }

    fn chunk_data(&mut self, left: u64, bytes: &[u8]) -> Step {
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - taken as u64;
        self.state = if left == 0 { State::ChunkSize } else { State::ChunkData(left) };
        Step::Taken(taken)
    }
}

fn last_line(bytes: &[u8]) -> io::Result<Step> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Step::End(2)),
        [] | [b'\r'] => Ok(Step::Incomplete),
        _ => Err(invalid("trailers")),
    }
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\n\r\n";

    fn responses(parts: &[&[u8]]) -> io::Result<usize> {
        let mut reader = ResponseReader::new(5);
        let mut count = 0;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                match reader.feed(rest)? {
                    Progress::More => break,
                    Progress::Complete { consumed } => {
                        count += 1;
                        rest = &rest[consumed..];
                    }
                }
            }
        }
        Ok(count)
    }

    #[test]
    fn any_split_gives_the_same_responses() -> io::Result<()> {
        let stream = [SIZED, CHUNKED, SIZED].concat();
        for split in 0..=stream.len() {
            assert_eq!(responses(&[&stream[..split], &stream[split..]])?, 3, "split at {split}");
        }
        assert_eq!(responses(&stream.chunks(1).collect::<Vec<_>>())?, 3);
        Ok(())
    }

    #[test]
    fn what_is_not_the_expected_response_is_an_error() {
        let wrong: [&[u8]; 5] = [
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhell",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n\r\n",
        ];
        for bytes in wrong {
            assert!(responses(&[bytes]).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_unfinished_response_is_none() -> io::Result<()> {
        assert_eq!(responses(&[&SIZED[..SIZED.len() - 1]])?, 0);
        assert_eq!(responses(&[&CHUNKED[..CHUNKED.len() - 1]])?, 0);
        Ok(())
    }
}
