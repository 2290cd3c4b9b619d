//! The events of a chunk that a subscription delivers, decoded.

use super::RawRecorded;
use super::filter::Filter;
use super::recorded::Decode;
use crate::error::ReadError;
use crate::journal::{CommittedEvent, EventChunk};
use crate::runtime::Kept;

/// Decoded events, in their order.
pub(super) type Decoded<T> = Vec<Kept<Result<T, ReadError>>>;

/// Selects and decodes events.
pub(super) struct Decoder<T> {
    pub(super) filter: Filter<T>,
    pub(super) decode: Decode<T>,
    /// The positions of the first and the last wanted event.
    pub(super) from: u64,
    pub(super) until: u64,
}

impl<T> Clone for Decoder<T> {
    fn clone(&self) -> Self {
        Self {
            filter: self.filter.clone(),
            ..*self
        }
    }
}

impl<T> Decoder<T> {
    /// The event, if it is wanted.
    pub(super) fn decode_one(
        &self,
        event: CommittedEvent<'_>,
    ) -> Option<Kept<Result<T, ReadError>>> {
        let is_wanted = (self.from..=self.until).contains(&event.position)
            && self.filter.has_type(event.stream.aggregate_type)
            && self.filter.may_want(event.line);
        if !is_wanted {
            return None;
        }
        let event = Kept::new((self.decode)(RawRecorded::new(event)));
        self.filter.wants(&event).then_some(event)
    }

    pub(super) fn decode(&self, chunk: &EventChunk) -> Decoded<T> {
        let mut decoded = Vec::with_capacity(chunk.len());
        decoded.extend(chunk.events().filter_map(|event| self.decode_one(event)));
        decoded
    }
}
