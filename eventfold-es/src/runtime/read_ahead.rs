//! Reads the journal ahead, while earlier events are handled.

use super::chunk_queue::ChunkQueue;
use crate::error::StoreError;
use crate::journal::{Cursor, EventChunk, Log};

/// The other thread reads while the first chunk is handled, which is therefore small.
const FIRST_BYTES: u64 = 64 << 10;

/// Calls `work` with the events between the cursor and a position, in order, and with the cursor after them. A chunk has
/// about this number of bytes of the journal. If there is more than one chunk, another thread reads ahead. The first error
/// ends the work. A read error comes after the events that were read before it. Blocks.
pub(super) fn read_ahead(
    log: &dyn Log,
    mut cursor: Cursor,
    position: u64,
    bytes: u64,
    work: &mut dyn FnMut(&EventChunk, Cursor) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut used = EventChunk::default();
    while cursor.position < position {
        let before = cursor.position;
        let chunk = log.read_events(&mut cursor, bytes.min(FIRST_BYTES), used)?;
        if cursor.position == before {
            break;
        }
        work(&chunk, cursor)?;
        used = chunk;
        if cursor.position < position {
            read_text_ahead(log, &mut cursor, bytes, work)?;
        }
    }
    Ok(())
}

/// Calls `work` with all events of the text behind the cursor. Another thread reads the text, and finds the events in it as
/// far as it is faster than the work.
fn read_text_ahead(
    log: &dyn Log,
    cursor: &mut Cursor,
    bytes: u64,
    work: &mut dyn FnMut(&EventChunk, Cursor) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Some(mut place) = cursor.text_place() else {
        return Ok(());
    };
    let find_events = |chunk: &mut EventChunk| log.find_events(chunk);
    let queue = ChunkQueue::new(&find_events);
    let mut read = |used| log.read_text(&mut place, bytes, used);
    let done = queue.work(&mut read, || {
        while let Some(mut chunk) = queue.next()? {
            let before = cursor.position;
            log.pass_text(cursor, &chunk)?;
            if cursor.position > before {
                work(&chunk, *cursor)?;
            }
            if let Some(failure) = chunk.take_failure() {
                return Err(failure.into());
            }
            queue.give_back(chunk);
        }
        Ok(())
    });
    // Without another thread, this one reads.
    done.unwrap_or(Ok(()))
}
