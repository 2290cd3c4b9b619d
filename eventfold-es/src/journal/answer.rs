use super::index::Address;

/// The place of the events that a command with an idempotency key caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) first_version: u64,
    pub(crate) first_position: u64,
    /// The digest of the command, if it can be compared.
    pub(crate) digest: Option<u64>,
    /// The address of the commit, with the number of these events in it.
    pub(super) address: Address,
}

impl Answer {
    pub(crate) fn event_count(&self) -> u64 {
        self.address.count
    }

    pub(crate) fn last_version(&self) -> u64 {
        (self.first_version + self.event_count()).saturating_sub(1)
    }

    pub(crate) fn last_position(&self) -> u64 {
        (self.first_position + self.event_count()).saturating_sub(1)
    }
}

/// The durable answer to a command with an idempotency key, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyLookup {
    Answered(Answer),
    /// The journal had no answer at the time of the lookup. Only the journal knows the meaning of the number.
    Free(u64),
}
