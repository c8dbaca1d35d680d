//! Files as response bodies (EXT-06 to EXT-10): opened and measured before the event is taken.

use std::fs::File;
use std::io::Seek;
use std::path::Path;

use asgi::SendError;
use ferricorn_proto::Content;

/// The file and its length; it is open when this returns, so the application may remove it then.
pub(crate) fn whole(path: &Path) -> Result<(File, u64), SendError> {
    let file = File::open(path).map_err(SendError::File)?;
    let length = length(&file)?;
    Ok((file, length))
}

fn length(file: &File) -> Result<u64, SendError> {
    let metadata = file.metadata().map_err(SendError::File)?;
    if metadata.is_dir() { Err(SendError::File(std::io::ErrorKind::IsADirectory.into())) } else { Ok(metadata.len()) }
}

/// `count` bytes from `offset` on; from the file's position, to its end, where they are None.
pub(crate) fn part<B>(mut file: File, offset: Option<u64>, count: Option<u64>) -> Result<Content<B>, SendError> {
    let length = length(&file)?;
    let offset = match offset {
        Some(offset) => offset,
        None => file.stream_position().map_err(SendError::File)?,
    };
    let rest = length.saturating_sub(offset);
    Ok(Content::File { file, offset, count: count.map_or(rest, |count| count.min(rest)) })
}
