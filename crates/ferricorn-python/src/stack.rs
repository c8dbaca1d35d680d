//! Python stacks as text: read from what `faulthandler` writes, and told in the words of a traceback.
//!
//! It knows neither where a stack comes from nor where it goes.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use pyo3::prelude::*;

/// One call, as `traceback` would show it.
#[derive(FromPyObject)]
pub(crate) struct Frame {
    #[pyo3(item(0))]
    file: String,
    #[pyo3(item(1))]
    line: Option<usize>,
    #[pyo3(item(2))]
    function: String,
    /// The text of the line; None where it is not known.
    #[pyo3(item(3))]
    source: Option<String>,
}

/// Whose code a frame is, the likeliest to be blamed first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Application,
    /// An installed package.
    Package,
    /// Python's library, or the server.
    Server,
}

/// Where the code is that is not the application's.
pub(crate) struct Folders {
    /// Of Python's library; None where it is in no folder, as in a program that is one file.
    library: Option<String>,
    /// Of the server.
    server: Option<String>,
}

impl Folders {
    pub(crate) fn new(py: Python<'_>) -> Self {
        let of = |module| -> Option<String> {
            let file: String = py.import(module).ok()?.getattr("__file__").ok()?.extract().ok()?;
            Some(file.rsplit_once('/')?.0.to_owned() + "/")
        };
        Self { library: of("os"), server: of("ferricorn") }
    }

    fn owner(&self, frame: &Frame) -> Owner {
        if self.is_servers(frame) || frame.file.starts_with('<') {
            Owner::Server
        } else if ["/site-packages/", "/dist-packages/"].iter().any(|folder| frame.file.contains(folder)) {
            Owner::Package
        } else if self.in_library(frame).is_some() {
            Owner::Server
        } else {
            Owner::Application
        }
    }

    fn is_servers(&self, frame: &Frame) -> bool {
        self.server.as_deref().is_some_and(|folder| frame.file.starts_with(folder))
    }

    /// The innermost frame of the application, else of a package, else of anybody.
    fn culprit<'a>(&self, frames: &'a [Frame]) -> Option<&'a Frame> {
        frames.iter().rev().min_by_key(|frame| self.owner(frame))
    }

    /// What the loop has called: the frames inside of its own. Empty where it only waits.
    fn inside_loop<'a>(&self, frames: &'a [Frame]) -> &'a [Frame] {
        let inside = frames.iter().rposition(|frame| self.is_servers(frame) || self.is_loops(frame));
        let inside = &frames[inside.map_or(0, |last| last + 1)..];
        let waits = inside.first().is_some_and(|frame| self.in_library(frame) == Some("selectors.py"));
        if waits { &[] } else { inside }
    }

    /// Whether it belongs to asyncio's way from `run` to a callback.
    fn is_loops(&self, frame: &Frame) -> bool {
        matches!(
            (self.in_library(frame), frame.function.as_str()),
            (Some("asyncio/base_events.py"), "run_until_complete" | "run_forever" | "_run_once")
                | (Some("asyncio/runners.py"), "run")
                | (Some("asyncio/events.py"), "_run")
        )
    }

    fn in_library<'a>(&self, frame: &'a Frame) -> Option<&'a str> {
        frame.file.strip_prefix(self.library.as_deref()?)
    }
}

/// What was found while the loop was blocked.
pub(crate) enum Found {
    /// Nothing.
    Unknown,
    /// The stack of the loop's thread.
    Loop(Vec<Frame>),
    /// That of another thread, which has the interpreter lock in all likelihood: the loop waits for it.
    Other(Vec<Frame>),
}

impl Found {
    pub(crate) fn in_loop(frames: Option<Vec<Frame>>) -> Self {
        frames.filter(|frames| !frames.is_empty()).map_or(Self::Unknown, Self::Loop)
    }

    /// Whether the loop has called nothing: it waits for the interpreter lock, or for something to do.
    pub(crate) fn waits(&self, folders: &Folders) -> bool {
        matches!(self, Self::Loop(frames) if folders.inside_loop(frames).is_empty())
    }

    /// The message that says who blocks the loop.
    pub(crate) fn message(&self, seconds: Duration, folders: &Folders) -> String {
        let mut text = format!("The event loop has been blocked for {:.1} s", seconds.as_secs_f64());
        let (frames, elsewhere) = match self {
            Self::Unknown => return text + ", and what blocks it cannot be read.",
            Self::Loop(frames) => (folders.inside_loop(frames), ""),
            Self::Other(frames) => (&frames[..], " in another thread, which holds the interpreter lock"),
        };
        let (Some(culprit), Some(innermost)) = (folders.culprit(frames), frames.last()) else {
            return text + ": it waits for the interpreter lock, which another thread holds.";
        };
        let _ = write!(text, " by {}", culprit.place());
        if culprit.place() != innermost.place() {
            let _ = write!(text, " (inside {})", innermost.place());
        }
        text = text + elsewhere + ". Stack, most recent call last:";
        for frame in frames {
            frame.write(&mut text);
        }
        text
    }
}

impl Frame {
    fn place(&self) -> String {
        format!("{} in {}:{}", self.function, self.file, self.line.unwrap_or_default())
    }

    fn write(&self, text: &mut String) {
        let line = self.line.unwrap_or_default();
        let _ = write!(text, "\n  File \"{}\", line {line}, in {}", self.file, self.function);
        if let Some(source) = self.source.as_deref().map(str::trim).filter(|source| !source.is_empty()) {
            let _ = write!(text, "\n    {source}");
        }
    }

    /// Reads the text of its line, where it is in a file.
    fn with_source(mut self) -> Self {
        let source = fs::read_to_string(&self.file).unwrap_or_default();
        self.source = self.line.and_then(|line| source.lines().nth(line.checked_sub(1)?)).map(str::to_owned);
        self
    }

    /// Out of a line such as `  File "/app/main.py", line 12 in handler`.
    fn parse(line: &str) -> Option<Self> {
        let (file, rest) = line.strip_prefix("  File \"")?.rsplit_once("\", line ")?;
        let (line, function) = rest.split_once(" in ")?;
        let (file, function) = (unescaped(file), unescaped(function));
        Some(Self { file, line: line.parse().ok(), function, source: None })
    }
}

/// The frames of what `faulthandler` writes, the innermost last, with their lines of source.
pub(crate) fn parse(dump: &str) -> Vec<Frame> {
    let frames = dump.lines().rev().filter_map(Frame::parse);
    frames.map(Frame::with_source).collect()
}

/// `faulthandler` writes what is not ASCII as \xNN, \uNNNN and \UNNNNNNNN; a backslash is left as it is.
fn unescaped(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        result += before;
        let digits = match after.bytes().next() {
            Some(b'x') => 2,
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let number = after.get(1..=digits).filter(|digits| !digits.is_empty());
        match number.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32) {
            Some(character) => {
                result.push(character);
                rest = &after[1 + digits..];
            }
            None => {
                result.push('\\');
                rest = after;
            }
        }
    }
    result + rest
}
