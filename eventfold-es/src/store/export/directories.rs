//! Maps ids to directories: one to one, safe on every file system, and readable where possible.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use eventfold::line_hash;
use xxhash_rust::xxh64::xxh64;

use crate::journal::StreamId;
use crate::names::is_reserved_device;

/// The longest directory name that comes from an id, in bytes; file systems allow 255.
const MAX_DIRECTORY_BYTES: usize = 200;

/// The directories of the exported streams.
#[derive(Debug, Default)]
pub(super) struct Directories {
    /// The hashes of the taken directories. If two directories had the same hash, the second would only get a less
    /// readable name.
    taken: HashSet<u64>,
    /// The directories that do not follow from the id alone.
    odd: HashMap<StreamId, Box<str>>,
}

impl Directories {
    /// Chooses and takes the directory of a stream that has none.
    pub(super) fn choose(&mut self, stream: &StreamId) -> String {
        let (aggregate_type, id) = (&*stream.aggregate_type, &*stream.instance_id);
        let mut candidate = first_choice(id);
        if self.is_taken(aggregate_type, &candidate) {
            candidate = percent_encode(id, true);
        }
        let mut attempt = 0_u32;
        while candidate.len() > MAX_DIRECTORY_BYTES || self.is_taken(aggregate_type, &candidate) {
            candidate = shorten(id, attempt);
            attempt += 1;
        }
        self.taken.insert(hash(aggregate_type, &candidate));
        if candidate != first_choice(id) {
            self.odd.insert(stream.clone(), candidate.as_str().into());
        }
        candidate
    }

    /// The directory that was chosen for a stream.
    pub(super) fn of(&self, stream: &StreamId) -> String {
        match self.odd.get(stream) {
            Some(directory) => directory.to_string(),
            None => first_choice(&stream.instance_id),
        }
    }

    fn is_taken(&self, aggregate_type: &str, directory: &str) -> bool {
        self.taken.contains(&hash(aggregate_type, directory))
    }
}

/// The directory of an id, unless a too similar directory is taken.
fn first_choice(id: &str) -> String {
    match keeps_its_name(id) {
        true => id.to_owned(),
        false => percent_encode(id, false),
    }
}

/// A hash that is equal for directories that some file system treats as the same.
fn hash(aggregate_type: &str, directory: &str) -> u64 {
    let seed = xxh64(aggregate_type.as_bytes(), 0);
    xxh64(directory.to_ascii_lowercase().as_bytes(), seed)
}

fn keeps_its_name(id: &str) -> bool {
    id.bytes().all(is_plain)
        && id.len() <= MAX_DIRECTORY_BYTES
        && !id.starts_with('.')
        && !id.ends_with('.')
        && !is_reserved_device(id.as_bytes())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Encodes each byte that is not plain. In a reserved id it also encodes the first byte and a `.` at the end; in a
/// twin, every letter.
fn percent_encode(id: &str, is_twin: bool) -> String {
    let reserved = id.bytes().all(is_plain);
    let last = id.len().saturating_sub(1);
    let mut encoded = String::with_capacity(id.len() + 8);
    for (index, byte) in id.bytes().enumerate() {
        let encode = !is_plain(byte)
            || (is_twin && byte.is_ascii_alphabetic())
            || (reserved && !is_twin && index == 0)
            || (byte == b'.' && (index == 0 || index == last));
        if encode {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        } else {
            encoded.push(char::from(byte));
        }
    }
    encoded
}

/// A readable beginning and the hash of the id; `~` occurs in no other directory name.
fn shorten(id: &str, attempt: u32) -> String {
    let start: String = percent_encode(id, false)
        .chars()
        .take(MAX_DIRECTORY_BYTES - 40)
        .collect();
    let hash = line_hash(id.as_bytes());
    match attempt {
        0 => format!("{start}~{hash}"),
        attempt => format!("{start}~{hash}~{attempt}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(directories: &mut Directories, aggregate_type: &str, id: &str) -> String {
        directories.choose(&StreamId::new(aggregate_type, id))
    }

    #[test]
    fn plain_ids_keep_their_name() {
        let mut directories = Directories::default();
        for id in ["ord-1", "a.b", "85123A", "x_y", "Ord-2"] {
            assert_eq!(choose(&mut directories, "order", id), id);
        }
    }

    #[test]
    fn other_ids_are_encoded_and_stay_inside() {
        let mut directories = Directories::default();
        let cases = [
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("../../x", "%2E.%2F..%2Fx"),
            ("/etc/passwd", "%2Fetc%2Fpasswd"),
            ("a/b", "a%2Fb"),
            ("CON", "%43ON"),
            ("nul.txt", "%6Eul.txt"),
            ("trailing.", "%74railing%2E"),
            ("Ä", "%C3%84"),
            ("BANK CHARGES", "BANK%20CHARGES"),
            ("100%", "100%25"),
        ];
        for (id, directory) in cases {
            assert_eq!(choose(&mut directories, "order", id), directory, "{id}");
        }
    }

    #[test]
    fn twins_that_differ_in_case_get_different_directories() {
        let mut directories = Directories::default();
        let mut seen = HashSet::new();
        for id in [
            "47591d", "47591D", "abc", "ABC", "Abc", "aBC", "%61bc", "ä", "Ä",
        ] {
            let directory = choose(&mut directories, "inventory", id);
            assert!(
                seen.insert(directory.to_ascii_lowercase()),
                "{id} -> {directory}"
            );
        }
    }

    #[test]
    fn long_ids_are_shortened_and_stay_apart() {
        let mut directories = Directories::default();
        let mut seen = HashSet::new();
        for end in ["a", "b", "A"] {
            let directory = choose(
                &mut directories,
                "order",
                &format!("{}{end}", "é".repeat(250)),
            );
            assert!(directory.len() <= 255);
            assert!(seen.insert(directory.to_ascii_lowercase()));
        }
    }

    #[test]
    fn the_directory_of_a_stream_is_found_again() {
        let mut directories = Directories::default();
        let long = ["a", "b", "A"].map(|end| format!("{}{end}", "\u{e9}".repeat(250)));
        let short = ["ord-1", "..", "abc", "ABC", "Abc", "aBC", "%61bc", "\u{c4}"];
        let ids: Vec<_> = short
            .into_iter()
            .chain(long.iter().map(String::as_str))
            .collect();
        let streams = ids.iter().map(|id| StreamId::new("order", id));
        let chosen: Vec<_> = streams
            .map(|stream| (directories.choose(&stream), stream))
            .collect();
        for (directory, stream) in chosen {
            assert_eq!(directories.of(&stream), directory, "{stream:?}");
        }
    }
}
