//! Recent commits in memory, the text of the journal, and the index of its streams.

pub(in crate::journal::local) mod answers;
pub(in crate::journal::local) mod appends;
pub(in crate::journal::local) mod commit_texts;
pub(in crate::journal::local) mod history;
pub(in crate::journal::local) mod log;
pub(in crate::journal::local) mod snapshots;
pub(in crate::journal::local) mod stream_events;
pub(in crate::journal::local) mod stream_parts;
pub(in crate::journal::local) mod streams;
