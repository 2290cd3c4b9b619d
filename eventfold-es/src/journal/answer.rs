use super::index::Address;

/// Where the events stand that a command with an idempotency key caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) first_version: u64,
    pub(crate) first_position: u64,
    /// The digest that tells the command from others, if it can be compared.
    pub(crate) digest: Option<u64>,
    /// Of the commit, and how many events of it they are.
    pub(crate) address: Address,
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
    /// Nothing was, when this was found out; only the journal knows when that was.
    Free(u64),
}
