//! Several questions or answers in one message. A message costs the servers as much as a kilobyte, and commands come in bursts.
//!
//! A part begins with a line: its number, and the length of its text in bytes, or its [`Fate`]. The text follows.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// The bytes of a part beside its text, at most.
pub(super) const LINE: usize = 48;

/// The reason why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The store has not got the question.
    Refused,
    /// The store has dropped the question.
    Dropped,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        })
    }
}

pub(super) type Part = (u64, Result<String, Fate>);

/// Messages to several subjects, each with as many parts as it has room for.
pub(super) struct Bundles {
    most: usize,
    full: Vec<(String, Bundle)>,
    open: BTreeMap<String, Bundle>,
}

/// The parts of a message.
#[derive(Default)]
pub(super) struct Bundle {
    pub(super) payload: Vec<u8>,
    /// Of its first part, up to behind its last.
    pub(super) numbers: Range<u64>,
}

impl Bundles {
    /// No messages. Each will have `most` bytes at most, if each of its parts has.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            full: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    pub(super) fn push(&mut self, subject: String, (number, content): Part) {
        let length = content.as_ref().map_or(0, String::len) + LINE;
        let bundle = self.open.entry(subject.clone()).or_default();
        if !bundle.payload.is_empty() && bundle.payload.len() + length > self.most {
            self.full.push((subject, std::mem::take(bundle)));
        }
        if bundle.payload.is_empty() {
            bundle.numbers.start = number;
        }
        bundle.numbers.end = number + 1;
        let text = match content {
            Ok(text) => {
                let line = format!("{number} {}\n", text.len());
                bundle.payload.extend_from_slice(line.as_bytes());
                text
            }
            Err(fate) => format!("{number} {fate}\n"),
        };
        bundle.payload.extend_from_slice(text.as_bytes());
    }
}

impl IntoIterator for Bundles {
    type Item = (String, Bundle);
    type IntoIter = std::iter::Chain<
        std::vec::IntoIter<Self::Item>,
        std::collections::btree_map::IntoIter<String, Bundle>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.full.into_iter().chain(self.open)
    }
}

/// The parts of a message. `None` if it is none of a node.
pub(super) fn parts(mut payload: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while !payload.is_empty() {
        let end = memchr::memchr(b'\n', payload)?;
        let line = std::str::from_utf8(payload.get(..end)?).ok()?;
        let (number, content) = line.split_once(' ')?;
        payload = payload.get(end + 1..)?;
        let content = match content {
            "refused" => Err(Fate::Refused),
            "dropped" => Err(Fate::Dropped),
            length => {
                let (text, rest) = payload.split_at_checked(length.parse().ok()?)?;
                payload = rest;
                Ok(std::str::from_utf8(text).ok()?.to_owned())
            }
        };
        parts.push((number.parse().ok()?, content));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_each_subject_come_in_their_order_in_messages_with_room() {
        let mut bundles = Bundles::new(200);
        let mut pushed = BTreeMap::<&str, Vec<Part>>::new();
        for number in 0..20 {
            let part = (
                number,
                match number % 5 {
                    0 => Err(Fate::Refused),
                    1 => Err(Fate::Dropped),
                    2 => Ok(String::new()),
                    _ => Ok("line\nline ".repeat(5)),
                },
            );
            let subject = if number % 3 == 0 { "one" } else { "two" };
            pushed.entry(subject).or_default().push(part.clone());
            bundles.push(subject.to_owned(), part);
        }
        let mut found = BTreeMap::<String, Vec<Part>>::new();
        let mut count = 0;
        for (subject, Bundle { payload, numbers }) in bundles {
            assert!((1..=200).contains(&payload.len()));
            let parts = parts(&payload).unwrap_or_default();
            assert!(parts.iter().all(|(number, _)| numbers.contains(number)));
            found.entry(subject).or_default().extend(parts);
            count += 1;
        }
        assert!((3..15).contains(&count), "{count} messages");
        for (subject, parts) in pushed {
            assert_eq!(found.get(subject), Some(&parts));
        }
    }

    #[test]
    fn other_messages_are_none() {
        for payload in [
            "x", "\n", "1\n", "1 x\n", "x 1\na", "1 2\na", "1 1\na2", "-1 0\n",
        ] {
            assert_eq!(parts(payload.as_bytes()), None, "{payload:?}");
        }
        assert_eq!(parts(b"1 1\n\xFF"), None);
        assert_eq!(parts(b""), Some(Vec::new()));
    }
}
