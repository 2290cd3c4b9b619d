//! Writing a lost run again.

use std::sync::Arc;

use super::run::Run;
use super::runs::{RunNote, Runs};
use crate::journal::JournalError;

/// A lost run that is being written again, from slices of its entries.
pub(crate) struct Restore<'a> {
    runs: &'a Runs,
    lost: RunNote,
    slices: Vec<(u64, Arc<Run>)>,
}

impl<'a> Restore<'a> {
    pub(super) fn new(runs: &'a Runs, lost: RunNote) -> Self {
        Self {
            runs,
            lost,
            slices: Vec::new(),
        }
    }

    /// Adds a slice of the entries, ordered by key. Blocks.
    pub(crate) fn add<'b>(
        &mut self,
        entries: impl IntoIterator<Item = (&'b [u8], &'b [u8])>,
    ) -> Result<(), JournalError> {
        let (number, run) = self.runs.write(entries, self.lost.coverage)?;
        self.slices.push((number, Arc::new(run)));
        Ok(())
    }

    /// Merges the slices, and lists the run. Blocks.
    pub(crate) fn finish(self) -> Result<(), JournalError> {
        let Self { runs, lost, slices } = self;
        let mut left = Some(runs.merge(slices, lost.level, lost.coverage)?);
        while let Some(merge) = left {
            left = runs.go_on(merge, u64::MAX)?;
        }
        runs.sweep(&[]);
        Ok(())
    }
}
