//! Sorted, immutable files that locate entries in the journal: runs.
//!
//! A checkpoint writes one run with the entries since the previous checkpoint. Eight runs of one level are merged into one run
//! of the next level. A run holds addresses and no events, so that it can be written again from the journal at any time.

mod block;
mod entry;
mod filter;
mod footer;
mod merge;
mod restore;
mod run;
mod run_writer;
mod runs;
#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
mod tests;

pub(crate) use entry::{Address, EntryKey, answer_hash};
pub(crate) use footer::Coverage;
pub(crate) use merge::{Entries, Merged};
pub(crate) use runs::{Merge, RunNote, Runs};
