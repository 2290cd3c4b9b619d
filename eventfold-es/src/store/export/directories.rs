//! The directories of an export.

use std::collections::HashMap;

use crate::directories::{self, first_choice};
use crate::journal::StreamId;

/// The directories of the streams that are exported.
#[derive(Debug, Default)]
pub(super) struct Directories {
    taken: directories::Directories,
    /// Those that the id alone does not tell.
    odd: HashMap<StreamId, Box<str>>,
}

impl Directories {
    /// Chooses the directory of a stream that has none.
    pub(super) fn choose(&mut self, stream: &StreamId) -> String {
        let (aggregate_type, id) = (&*stream.aggregate_type, &*stream.instance_id);
        let chosen = self.taken.choose(aggregate_type, id);
        if chosen != first_choice(id) {
            self.odd.insert(stream.clone(), chosen.as_str().into());
        }
        chosen
    }

    /// The directory that was chosen for a stream.
    pub(super) fn of(&self, stream: &StreamId) -> String {
        match self.odd.get(stream) {
            Some(directory) => directory.to_string(),
            None => first_choice(&stream.instance_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
