//! Entries that other nodes have appended, which they tell of with the body. So a node that follows asks the servers for nothing while
//! no message is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::replication::Entry;

/// The bytes of entries that wait for being read. With more, entries come from the servers.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Told(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    texts: BTreeMap<u64, Arc<str>>,
    bytes: usize,
}

impl Told {
    /// Keeps an entry, if there is room.
    pub(super) fn keep(&self, number: u64, text: &str) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = waiting.bytes.saturating_add(text.len());
        if bytes <= MAX_BYTES && !waiting.texts.contains_key(&number) {
            waiting.bytes = bytes;
            waiting.texts.insert(number, text.into());
        }
    }

    /// The entries from `from` on, up to the first that is not there. They are given once: a node that asks again wants the word of the
    /// servers.
    pub(super) fn take(&self, from: u64, max_bytes: usize) -> Vec<Entry> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries: Vec<Entry> = Vec::new();
        let (mut next, mut bytes) = (from, 0_usize);
        while let Some(first) = waiting.texts.first_entry() {
            let (number, size) = (*first.key(), first.get().len());
            let has_room = entries.is_empty() || bytes.saturating_add(size) <= max_bytes;
            if number > next || number == next && !has_room {
                break;
            }
            let text = first.remove();
            waiting.bytes = waiting.bytes.saturating_sub(size);
            // The reader has all entries below `from`.
            if number == next {
                bytes += size;
                next += 1;
                entries.push(Entry { number, text });
            }
        }
        entries
    }
}

/// The head of a message with an entry: the stream, the connection that tells of it, and the number.
pub(super) struct Head<'a> {
    /// The time at which the stream was created. Another stream of the same name has other entries.
    pub(super) stream: &'a str,
    pub(super) teller: &'a str,
    pub(super) number: u64,
}

impl<'a> Head<'a> {
    /// The message.
    pub(super) fn with(&self, body: &[u8]) -> Vec<u8> {
        let Self {
            stream,
            teller,
            number,
        } = self;
        [format!("{stream} {teller} {number}\n").as_bytes(), body].concat()
    }

    /// Takes a message apart. `None` if it is none.
    pub(super) fn of(message: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let end = memchr::memchr(b'\n', message)?;
        let (head, body) = message.split_at_checked(end)?;
        let mut words = std::str::from_utf8(head).ok()?.split(' ');
        let head = Self {
            stream: words.next()?,
            teller: words.next()?,
            number: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some((head, body.get(1..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn entries_are_given_in_order_without_a_gap_and_once() {
        let told = Told::default();
        for number in [7, 3, 4, 6, 2] {
            told.keep(number, "a line\n");
        }
        assert_eq!(numbers(&told.take(3, 1_000)), [3, 4]);
        assert!(told.take(3, 1_000).is_empty());
        assert!(told.take(5, 1_000).is_empty());
        told.keep(5, "a line\n");
        assert_eq!(numbers(&told.take(5, 10)), [5]);
        assert_eq!(numbers(&told.take(6, 14)), [6, 7]);
    }

    #[test]
    fn entries_without_room_are_not_kept() {
        let told = Told::default();
        let large = "x".repeat(MAX_BYTES / 2);
        for number in 1..=3 {
            told.keep(number, &large);
        }
        assert_eq!(numbers(&told.take(1, usize::MAX)), [1, 2]);
        told.keep(3, &large);
        // What the reader has makes room.
        assert!(told.take(4, usize::MAX).is_empty());
        told.keep(4, &large);
        told.keep(5, &large);
        assert_eq!(numbers(&told.take(4, usize::MAX)), [4, 5]);
    }

    #[test]
    fn a_message_is_taken_apart() {
        let head = Head {
            stream: "2026-01-01T00:00:00Z",
            teller: "t",
            number: 12,
        };
        let message = head.with(b"one\ntwo\n");
        let (head, body) = Head::of(&message).unwrap_or_else(|| panic!("{message:?}"));
        assert_eq!(
            (head.stream, head.teller, head.number),
            ("2026-01-01T00:00:00Z", "t", 12)
        );
        assert_eq!(body, b"one\ntwo\n");
        for other in ["", "12", "a b\n", "a b c\n", "a b 1 2\n", "a b 1"] {
            assert!(Head::of(other.as_bytes()).is_none(), "{other}");
        }
    }
}
