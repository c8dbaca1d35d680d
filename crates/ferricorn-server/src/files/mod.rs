//! Files as response bodies (EXT-06 to EXT-10): opened and measured before the event is taken, and read without holding up
//! the loop. [`Ahead`] says how a connection's file goes on, [`Disk`] asks the system, and the [`Reader`]'s thread waits
//! for the disk. Nothing here knows a protocol or writes to a socket.

mod ahead;
mod disk;
mod orders;
mod reader;
#[cfg(test)]
mod tests;

pub(crate) use ahead::{Ahead, Next};
pub(crate) use disk::{Disk, System};
pub(crate) use orders::report_faults;
pub(crate) use reader::{Order, Outcome, Reader};

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use asgi::SendError;
use ferricorn_proto::Content;
use rustix::fs::{OFlags, fcntl_getfl};

/// The file and its length; it is open when this returns, so the application may remove it then.
pub(crate) fn whole(path: &Path) -> Result<(File, u64), SendError> {
    // A pipe would wait for somebody who writes into it, and a terminal might become that of this process.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).map_err(SendError::File)?;
    let length = length(&file).map_err(SendError::File)?;
    Ok((file, length))
}

/// `count` bytes from `offset` on; from the file's position, to its end, where they are None.
pub(crate) fn part<B>(mut file: File, offset: Option<u64>, count: Option<u64>) -> Result<Content<B>, SendError> {
    let (offset, rest) = measure(&mut file, offset).map_err(SendError::File)?;
    Ok(Content::File { file, offset, count: count.map_or(rest, |count| count.min(rest)) })
}

/// Where the part begins, and how much there is from there on.
fn measure(file: &mut File, offset: Option<u64>) -> io::Result<(u64, u64)> {
    let length = length(file)?;
    let flags = fcntl_getfl(&*file)?;
    if flags.contains(OFlags::PATH) || flags & OFlags::RWMODE == OFlags::WRONLY {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not open for reading"));
    }
    let offset = match offset {
        Some(offset) => offset,
        None => file.stream_position()?,
    };
    Ok((offset, length.saturating_sub(offset)))
}

/// What is no regular file has no length to go by, and may keep a reader waiting.
fn length(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    match metadata.file_type() {
        kind if kind.is_file() => Ok(metadata.len()),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Why a part of a file cannot be sent as it was promised.
#[derive(Debug)]
pub struct FileFault {
    /// Where in the file that showed.
    pub at: u64,
    /// Up to where it was promised.
    pub end: u64,
    /// What the system said; None: the file ends there.
    pub error: Option<io::Error>,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, end, .. } = self;
        match &self.error {
            Some(error) => write!(f, "a file that was promised up to byte {end} cannot be read at byte {at}: {error}"),
            None => {
                write!(
                    f,
                    "a file that was promised up to byte {end} has become shorter: nothing is left from byte {at} on"
                )
            }
        }
    }
}
