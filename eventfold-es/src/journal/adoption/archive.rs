//! The archive of a stream: consecutive zstd frames. Each of them was once the whole `app.jsonl`.

use std::io::{self, Read as _};
use std::path::Path;

use super::piece::Piece;
use crate::disk::{FileError, Files, OpenMode};

/// An unusable part, and its start in the compressed file.
pub(super) struct Unreadable {
    pub(super) offset: u64,
    pub(super) reason: String,
}

/// The frames whose content the log behind them does not have, in order.
///
/// An interrupted rotation leaves the log unchanged behind a frame with its content, or with a prefix of it. The next rotation
/// archives that content again, with the events that were added meanwhile. A frame is therefore left out if the next frame, or
/// the log, begins with its content.
pub(super) fn pieces(
    files: &Files,
    archive: &Path,
    log: Option<&Path>,
) -> Result<Result<Vec<Piece>, Unreadable>, FileError> {
    let bytes = files.read(archive)?.unwrap_or_default();
    let mut pieces = Vec::new();
    let mut last: Option<(Piece, Vec<u8>)> = None;
    let mut rest = bytes.as_slice();
    let mut start = 0;
    while !rest.is_empty() {
        let offset = (bytes.len() - rest.len()) as u64;
        let unreadable = |reason: String| Ok(Err(Unreadable { offset, reason }));
        let (content, behind) = match frame(rest) {
            Frame::Complete(content, behind) if behind.len() < rest.len() => (content, behind),
            Frame::Incomplete(content) => {
                if begins_with(files, log, &content)? {
                    break;
                }
                return unreadable("the archive ends in the middle of a frame".to_owned());
            }
            Frame::Complete(..) => return unreadable("an empty frame has no end".to_owned()),
            Frame::Damaged(error) => return unreadable(format!("no frame is here: {error}")),
        };
        let end = start + content.len() as u64;
        if let Some((piece, before)) = last.take()
            && !content.starts_with(&before)
        {
            pieces.push(piece);
        }
        let piece = Piece {
            is_archived: true,
            start,
            end,
        };
        last = Some((piece, content));
        start = end;
        rest = behind;
    }
    if let Some((piece, content)) = last
        && !begins_with(files, log, &content)?
    {
        pieces.push(piece);
    }
    Ok(Ok(pieces))
}

/// A part of the decompressed text of an archive.
pub(super) fn read(
    files: &Files,
    archive: &Path,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, FileError> {
    let failed = |error| FileError::new("decompress", archive, error);
    let bytes = files.read(archive)?.unwrap_or_default();
    let mut decoder = zstd::Decoder::with_buffer(bytes.as_slice()).map_err(failed)?;
    io::copy(&mut decoder.by_ref().take(offset), &mut io::sink()).map_err(failed)?;
    let mut text = Vec::new();
    decoder
        .take(length)
        .read_to_end(&mut text)
        .map_err(failed)?;
    Ok(text)
}

enum Frame<'a> {
    /// The content of the frame, and the bytes behind it.
    Complete(Vec<u8>, &'a [u8]),
    /// The beginning of its content.
    Incomplete(Vec<u8>),
    Damaged(io::Error),
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    // The remains of a file extension after a power loss.
    if bytes.iter().all(|byte| *byte == 0) {
        return Frame::Incomplete(Vec::new());
    }
    let mut decoder = match zstd::Decoder::with_buffer(bytes) {
        Ok(decoder) => decoder.single_frame(),
        Err(error) => return Frame::Damaged(error),
    };
    let mut content = Vec::new();
    match decoder.read_to_end(&mut content) {
        Ok(_) => Frame::Complete(content, decoder.finish()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Frame::Incomplete(content),
        Err(error) => Frame::Damaged(error),
    }
}

fn begins_with(files: &Files, log: Option<&Path>, content: &[u8]) -> Result<bool, FileError> {
    let Some(log) = log else {
        return Ok(content.is_empty());
    };
    let beginning = files
        .open(log, OpenMode::Read)?
        .read_range(0, content.len() as u64)?;
    Ok(beginning == content)
}
