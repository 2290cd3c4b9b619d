/// A part of a stream that is read piece by piece, from its beginning or from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamPart {
    /// The version of its first event.
    pub(crate) first: u64,
    /// The version of its last event, or a later version than the stream has.
    pub(crate) last: u64,
    /// Whether the pieces are read from the end.
    pub(crate) is_backwards: bool,
    /// The number of events that are wanted.
    pub(crate) limit: u64,
}

impl StreamPart {
    /// All events of a stream, from the first.
    pub(crate) const ALL: Self = Self {
        first: 1,
        last: u64::MAX,
        is_backwards: false,
        limit: u64::MAX,
    };

    /// Removes a piece of so many events that ends with this version.
    pub(crate) fn remove(&mut self, version: u64, events: u64) {
        match self.is_backwards {
            true => self.last = version.saturating_sub(1),
            false => self.first = version.saturating_add(1),
        }
        self.limit = self.limit.saturating_sub(events);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first > self.last || self.limit == 0
    }
}
