//! What the system says of a file's bytes: whether they are in memory, and the bytes themselves.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How far apart the bytes are that stand for those between them: what the kernel reads ahead by default.
#[cfg(target_os = "linux")]
const STRIDE: u64 = 128 * 1024;

/// What is in memory together, at the least.
#[cfg(target_os = "linux")]
const PAGE: u64 = 4096;

/// The system, or what stands for it in a test.
pub(crate) trait Disk: Send + Sync {
    /// How many of `count` bytes from `offset` on are in memory, at a guess that is rarely wrong; 0 as well where nobody
    /// can tell, and where there are none. `count` is not 0.
    fn cached(&self, file: &File, offset: u64, count: u64) -> io::Result<u64>;

    /// Reads what is in memory, and waits for nothing. None: that has to be fetched, or nobody can tell. 0: the file ends
    /// before `offset`.
    fn look(&self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<Option<usize>>;

    /// Reads until the buffer is full or the file ends, however long it takes.
    fn read(&self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match file.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

/// The system itself.
pub(crate) struct System;

#[cfg(target_os = "linux")]
impl Disk for System {
    fn cached(&self, file: &File, offset: u64, count: u64) -> io::Result<u64> {
        // A file is read from its front, as a rule: where both ends are in memory, so is what lies between them.
        match without_waiting(file, offset + count - 1, &mut [0])? {
            Answer::Read(1) if count <= PAGE => return Ok(count),
            Answer::Read(1) => return Ok(if has_byte(file, offset)? { count } else { 0 }),
            // There is nothing but memory behind it: it may as well be read now.
            Answer::Unknown => return Ok(if is_memory(file)? { count } else { 0 }),
            Answer::Read(_) | Answer::Elsewhere => {}
        }
        let mut known = 0;
        while known + STRIDE < count && has_byte(file, offset + known)? && has_byte(file, offset + known + STRIDE - 1)?
        {
            known += STRIDE;
        }
        Ok(known)
    }

    fn look(&self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match without_waiting(file, offset, buffer)? {
            Answer::Read(count) => Ok(Some(count)),
            Answer::Unknown if is_memory(file)? => self.read(file, offset, buffer).map(Some),
            Answer::Elsewhere | Answer::Unknown => Ok(None),
        }
    }
}

/// Systems that cannot tell.
#[cfg(not(target_os = "linux"))]
impl Disk for System {
    fn cached(&self, _: &File, _: u64, _: u64) -> io::Result<u64> {
        Ok(0)
    }

    fn look(&self, _: &File, _: u64, _: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(None)
    }
}

/// What a read that may not wait came to.
#[cfg(target_os = "linux")]
enum Answer {
    Read(usize),
    /// It would have to wait.
    Elsewhere,
    /// This file system does not know how to read without waiting: overlayfs, tmpfs and FUSE are such.
    Unknown,
}

#[cfg(target_os = "linux")]
fn has_byte(file: &File, offset: u64) -> io::Result<bool> {
    Ok(matches!(without_waiting(file, offset, &mut [0])?, Answer::Read(1)))
}

#[cfg(target_os = "linux")]
fn without_waiting(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<Answer> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    loop {
        let mut slices = [io::IoSliceMut::new(buffer)];
        match preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            // Linux 5.9 and 5.10 say 0 as well where they would have to wait: preadv2(2), "Bugs".
            Ok(0) if file.metadata()?.len() > offset => return Ok(Answer::Elsewhere),
            Ok(count) => return Ok(Answer::Read(count)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Answer::Elsewhere),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(Answer::Unknown),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the file is in memory by its nature.
#[cfg(target_os = "linux")]
fn is_memory(file: &File) -> io::Result<bool> {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of linux/magic.h.
    const MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
    Ok(MEMORY.contains(&rustix::fs::fstatfs(file)?.f_type))
}
