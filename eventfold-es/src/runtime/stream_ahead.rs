//! Reads a long stream ahead, while its earlier events are folded.

use std::ops::ControlFlow;

use super::chunk_queue::ChunkQueue;
use crate::journal::{JournalError, StreamPiece, StreamReader};

/// The number of events before another thread reads. With fewer events, it would start too late to help.
const ALONE: usize = 1_000;

/// Calls `work` with the next pieces of a stream, until it breaks or the stream ends. The last pieces of a long stream are read
/// by another thread. A read error comes after the events that were read before it. Blocks.
pub(super) fn each_piece(
    events: &mut dyn StreamReader,
    work: &mut dyn FnMut(&StreamPiece) -> ControlFlow<()>,
) -> Result<(), JournalError> {
    let (mut piece, mut read) = (StreamPiece::default(), 0);
    let mut may_help = true;
    while events.next(&mut piece)? {
        if work(&piece).is_break() {
            break;
        }
        read += piece.len();
        if may_help && read >= ALONE && piece.failure.is_none() {
            may_help = false;
            if let Some(done) = read_ahead(events, work) {
                return done;
            }
        }
    }
    Ok(())
}

/// [`each_piece`], with the pieces from another thread; `None` if that thread does not start.
fn read_ahead(
    events: &mut dyn StreamReader,
    work: &mut dyn FnMut(&StreamPiece) -> ControlFlow<()>,
) -> Option<Result<(), JournalError>> {
    let finder = events.finder();
    let find_events = |piece: &mut StreamPiece| finder.find(piece);
    let queue = ChunkQueue::new(&find_events);
    let mut read = |mut piece| Ok(events.read(&mut piece)?.then_some(piece));
    queue.work(&mut read, || {
        while let Some(mut piece) = queue.next()? {
            if piece.len() > 0 && work(&piece).is_break() {
                break;
            }
            if let Some(failure) = piece.take_failure() {
                return Err(failure);
            }
            queue.give_back(piece);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::journal::{Damage, FindEvents, StreamEnd};

    /// Events need not be found. The piece with the event `damaged` is the last.
    struct Found {
        damaged: u64,
    }

    impl FindEvents for Found {
        fn find(&self, piece: &mut StreamPiece) {
            if piece.last_version() >= self.damaged {
                piece.failure = Some(Damage::new("numbers", self.damaged, "damaged").into());
            }
        }
    }

    /// A stream of events that are numbers, with so many in a piece.
    struct Numbers {
        end: u64,
        last: u64,
        in_piece: u64,
        /// Whether the end is an error.
        fails: bool,
        damaged: u64,
    }

    impl StreamReader for Numbers {
        fn read(&mut self, piece: &mut StreamPiece) -> Result<bool, JournalError> {
            let first = self.end + 1;
            if first > self.last {
                return match self.fails {
                    true => Err(self.damage(first, "the end".to_owned())),
                    false => Ok(false),
                };
            }
            let mut text = piece.restart(first);
            text.clear();
            self.end = self.last.min(self.end + self.in_piece);
            for number in first..=self.end {
                let start = text.len();
                text.push_str(&number.to_string());
                piece.add(start..text.len());
            }
            piece.finish(text);
            Ok(true)
        }

        fn finder(&self) -> Arc<dyn FindEvents> {
            let damaged = self.damaged;
            Arc::new(Found { damaged })
        }

        fn end(&self) -> StreamEnd {
            StreamEnd {
                version: self.end,
                ..StreamEnd::default()
            }
        }

        fn damage(&self, version: u64, reason: String) -> JournalError {
            Damage::new("numbers", version, reason).into()
        }
    }

    #[test]
    fn every_event_comes_once_and_in_order() {
        for (last, in_piece) in [
            (0, 1),
            (999, 7),
            (1_000, 1_000),
            (1_001, 1_000),
            (9_999, 100),
        ] {
            for (up_to, fails) in [(u64::MAX, false), (u64::MAX, true), (5_050, false)] {
                let mut events = Numbers {
                    end: 0,
                    last,
                    in_piece,
                    fails,
                    damaged: u64::MAX,
                };
                let (mut seen, mut threads) = (0, Vec::new());
                let read = each_piece(&mut events, &mut |piece| {
                    threads.push(thread::current().id());
                    for (version, line) in piece.events() {
                        assert_eq!((version, line), (seen + 1, &*version.to_string()));
                        assert_eq!(piece.event(version), Some(line));
                        seen = version;
                    }
                    match seen < up_to {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                });
                assert_eq!(read.is_err(), fails);
                let whole = seen == last || seen >= up_to && seen < up_to + in_piece;
                assert!(whole, "{seen} of {last} up to {up_to}");
                // The work stays on the thread of the caller.
                assert!(threads.iter().all(|id| *id == thread::current().id()));
            }
        }
    }

    #[test]
    fn damage_comes_after_the_events_before_it_on_either_thread() {
        for (damaged, read) in [(1, 100), (950, 1_000), (5_050, 5_100)] {
            let mut events = Numbers {
                end: 0,
                last: 9_999,
                in_piece: 100,
                fails: false,
                damaged,
            };
            let mut seen = 0;
            let error = each_piece(&mut events, &mut |piece| {
                seen = piece.last_version();
                ControlFlow::Continue(())
            });
            assert!(error.is_err(), "damage at {damaged}");
            assert_eq!(seen, read, "damage at {damaged}");
        }
    }

    #[test]
    fn a_panic_of_the_work_ends_the_other_thread() {
        let mut events = Numbers {
            end: 0,
            last: u64::MAX,
            in_piece: 500,
            fails: false,
            damaged: u64::MAX,
        };
        let work = std::panic::AssertUnwindSafe(|| {
            let mut pieces = 0;
            each_piece(&mut events, &mut |_| {
                pieces += 1;
                match pieces < 9 {
                    true => ControlFlow::Continue(()),
                    false => std::panic::resume_unwind(Box::new("no")),
                }
            })
        });
        assert!(std::panic::catch_unwind(work).is_err());
    }
}
