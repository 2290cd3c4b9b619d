//! Opening a node: the log and the local journal must have one history. Then either one may be longer.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use eventfold::line_hash;
use serde::{Deserialize, Serialize};

use crate::disk::{FileError, Files, SealedFile};
use crate::error::OpenError;
use crate::journal::local::layout::Layout;
use crate::journal::local::line;
use crate::journal::local::log::{Parts, each_line};
use crate::journal::local::scan::{Tail, Tip};
use crate::journal::{Damage, JournalError};
use crate::replication::{AppendError, LogError, Measured};

/// The time for which a log may seem shorter than it is, because it is just choosing its leader.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
/// The number of bytes of the journal that are read at once.
const READ_BYTES: u64 = 4 << 20;
/// The reason for refusing a directory of an earlier version.
const ADOPTED: &str = "the directory comes from eventfold-es 0.2.0, and such a store cannot be replicated: export its events, and \
                       import them into a new store";
/// The time between two lines about progress.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// The reason for which a node waits, and after which opening fails.
pub(super) const BEING_PUBLISHED: &str = "the log is being published by another node, and has no leader before that node has opened: \
                                          open that node first";

/// The note that a directory belongs to a node of a replicated store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Joined {
    /// The log may be published by another node. The journal has no claim, and may be the beginning of a longer history.
    Joining,
    /// The journal is being published to a log that was empty before.
    Publishing,
    /// The log has every batch of the journal, and the whole history.
    Following,
}

fn note(files: &Files, layout: &Layout) -> SealedFile {
    SealedFile::new(files.clone(), layout.joined())
}

fn noted(files: &Files, layout: &Layout) -> Result<Option<Joined>, OpenError> {
    match note(files, layout).load()? {
        None => Ok(None),
        Some(Ok(joined)) => Ok(Some(joined)),
        Some(Err(error)) => Err(Damage::new(layout.joined(), 0, error.to_string()).into()),
    }
}

/// Whether the end of the journal may be lost. A node does not sync its writes, since the log has them. The journal that a node
/// publishes was synced by a store on one machine.
pub(in crate::journal::local) fn tail(files: &Files, layout: &Layout) -> Result<Tail, OpenError> {
    Ok(match noted(files, layout)? {
        Some(Joined::Joining | Joined::Following) => Tail::Unsynced,
        Some(Joined::Publishing) | None => Tail::AsWritten,
    })
}

/// Lets the directory belong to a store on one machine again.
pub(in crate::journal::local) fn leave(files: &Files, layout: &Layout) -> Result<(), FileError> {
    if files.exists(&layout.joined())? {
        files.remove(&layout.joined())?;
        files.sync_dir(&layout.journal())?;
    }
    Ok(())
}

/// Connects to the log, and compares it with the journal, which ends at `tip`. A journal of one machine is published to an
/// empty log. The result is whether the node may claim a log with entries: the log has a claim, or the node has published it.
/// Blocks.
pub(in crate::journal::local) fn join(
    log: &Measured,
    files: &Files,
    layout: &Layout,
    parts: &Parts,
    tip: &Tip,
) -> Result<bool, OpenError> {
    let joining = Joining {
        log,
        parts,
        tip,
        layout,
    };
    log.open().map_err(|error| joining.failed(error))?;
    let noted = noted(files, layout)?;
    let publishes =
        noted == Some(Joined::Publishing) || (noted.is_none() && joining.is_to_publish()?);
    if publishes {
        save(files, layout, Joined::Publishing)?;
        joining.publish()?;
    }
    joining.compare()?;
    let is_known = noted == Some(Joined::Following) && tip.batch > 0;
    let joined = match publishes || is_known || joining.has_claim()? {
        true => Joined::Following,
        false => Joined::Joining,
    };
    if noted != Some(joined) {
        save(files, layout, joined)?;
    }
    Ok(joined == Joined::Following)
}

fn save(files: &Files, layout: &Layout, joined: Joined) -> Result<(), OpenError> {
    note(files, layout).save(&joined)?;
    Ok(())
}

/// A batch of the journal.
struct Batch<'a> {
    number: u64,
    text: &'a str,
    /// A claim is a batch of its own.
    is_claim: bool,
}

struct Joining<'a> {
    log: &'a Measured,
    parts: &'a Parts,
    tip: &'a Tip,
    layout: &'a Layout,
}

impl Joining<'_> {
    fn failed(&self, error: LogError) -> OpenError {
        let log = self.log.describe();
        match error {
            LogError::Unavailable(reason) => OpenError::LogUnavailable { log, reason },
            LogError::Unusable(reason) => OpenError::LogUnusable { log, reason },
        }
    }

    /// The text of an entry.
    fn entry(&self, number: u64) -> Result<Option<std::sync::Arc<str>>, OpenError> {
        let entries = self
            .log
            .read(number, 1)
            .map_err(|error| self.failed(error))?;
        let entry = entries.into_iter().next();
        Ok(entry
            .filter(|entry| entry.number == number)
            .map(|entry| entry.text))
    }

    /// Whether the journal has batches, and the log has no entry.
    fn is_to_publish(&self) -> Result<bool, OpenError> {
        Ok(self.tip.batch > 0 && self.entry(1)?.is_none())
    }

    /// Refuses a journal with another history than the log, and a journal that is ahead of it.
    fn compare(&self) -> Result<(), OpenError> {
        if self.tip.batch == 0 {
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            if let Some(text) = self.entry(self.tip.batch)? {
                return match hash_of_last_line(&text) == self.tip.hash {
                    true => Ok(()),
                    false => Err(self.other_history(self.tip.batch)),
                };
            }
            if begun.elapsed() >= PATIENCE {
                self.require_common_history()?;
                return Err(OpenError::AheadOfLog {
                    path: self.layout.base().to_owned(),
                    log: self.log.describe(),
                    batch: self.tip.batch,
                });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Refuses a journal that differs from the last entry of a log that is shorter.
    fn require_common_history(&self) -> Result<(), OpenError> {
        let last = self.last_entry()?;
        let entry = match last {
            0 => None,
            _ => self.entry(last)?,
        };
        let Some(entry) = entry else {
            return Ok(());
        };
        self.each_batch(|batch| match batch.number == last {
            false => Ok(ControlFlow::Continue(())),
            true if batch.text == &*entry => Ok(ControlFlow::Break(())),
            true => Err(self.other_history(last)),
        })
    }

    /// Whether the journal has a claim. Then the log has one, too, and no node publishes it.
    fn has_claim(&self) -> Result<bool, OpenError> {
        let mut has_claim = false;
        self.each_batch(|batch| {
            has_claim = batch.is_claim;
            Ok(match has_claim {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        Ok(has_claim)
    }

    fn other_history(&self, batch: u64) -> OpenError {
        OpenError::OtherHistory {
            path: self.layout.base().to_owned(),
            log: self.log.describe(),
            batch,
        }
    }

    /// The number of the last entry, which is not above that of the last batch.
    fn last_entry(&self) -> Result<u64, OpenError> {
        let (mut present, mut missing) = (0, self.tip.batch + 1);
        while missing - present > 1 {
            let middle = present + (missing - present) / 2;
            match self.entry(middle)? {
                Some(_) => present = middle,
                None => missing = middle,
            }
        }
        Ok(present)
    }

    /// Appends all batches that the log does not have.
    fn publish(&self) -> Result<(), OpenError> {
        let published = self.last_entry()?;
        let mut reported = Instant::now();
        self.each_batch(|Batch { number, text, .. }| {
            if number < published {
                return Ok(ControlFlow::Continue(()));
            }
            if number == published {
                let known = self.entry(number)?;
                return match known.as_deref() == Some(text) {
                    true => Ok(ControlFlow::Continue(())),
                    false => Err(self.other_history(number)),
                };
            }
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                tracing::info!(
                    batch = number,
                    of = self.tip.batch,
                    "publishing the journal"
                );
            }
            self.append(number, text)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    fn append(&self, number: u64, text: &str) -> Result<(), OpenError> {
        let max = self.log.max_entry_bytes();
        let refused = |reason: String| OpenError::LogUnusable {
            log: self.log.describe(),
            reason: format!("batch {number} of the journal cannot be published: {reason}"),
        };
        if text.len() > max {
            let bytes = text.len();
            return Err(refused(format!(
                "it has {bytes} bytes, and an entry has at most {max}: raise that limit"
            )));
        }
        match self.log.append(number - 1, text.into()) {
            Ok(()) => Ok(()),
            Err(AppendError::Refused(reason)) => Err(refused(reason)),
            Err(AppendError::Unavailable(reason)) => {
                Err(self.failed(LogError::Unavailable(reason)))
            }
            // Another node publishes as well, or the entry is there.
            Err(AppendError::Fenced | AppendError::Unknown(_)) => self.settle(number, text),
        }
    }

    /// Whether an entry of an unknown outcome is there, decided by a later look.
    fn settle(&self, number: u64, text: &str) -> Result<(), OpenError> {
        let begun = Instant::now();
        loop {
            match self.entry(number) {
                Ok(Some(found)) if *found == *text => return Ok(()),
                Ok(Some(_)) => return Err(self.other_history(number)),
                Ok(None) | Err(OpenError::LogUnavailable { .. }) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                }
                Ok(None) => {
                    let reason = format!("entry {number} was sent, and did not arrive");
                    return Err(self.failed(LogError::Unavailable(reason)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls `visit` with each batch, until it breaks.
    fn each_batch(
        &self,
        mut visit: impl FnMut(Batch<'_>) -> Result<ControlFlow<()>, OpenError>,
    ) -> Result<(), OpenError> {
        let mut offset = 0;
        let mut batch = String::new();
        while offset < self.tip.offset {
            let lines = self
                .parts
                .lines(offset..self.tip.offset, READ_BYTES, Parts::read_range);
            let lines = lines?.ok_or_else(|| self.parts.endless(offset))?;
            for (at, text) in each_line(&lines, offset) {
                let commit = line::parse(text).map_err(|error| self.parts.unreadable(at, error));
                let commit = commit.map_err(|error: JournalError| OpenError::from(error))?;
                if commit.data.adoption.is_some() {
                    return Err(OpenError::LogUnusable {
                        log: self.log.describe(),
                        reason: ADOPTED.to_owned(),
                    });
                }
                batch.push_str(commit.text);
                batch.push('\n');
                if commit.data.end {
                    let visited = visit(Batch {
                        number: commit.data.batch,
                        text: &batch,
                        is_claim: commit.data.claim.is_some(),
                    })?;
                    if visited.is_break() {
                        return Ok(());
                    }
                    batch.clear();
                }
            }
            offset += lines.len() as u64;
        }
        Ok(())
    }
}

pub(super) fn hash_of_last_line(text: &str) -> String {
    let last = text.strip_suffix('\n').unwrap_or(text);
    let last = last.rsplit('\n').next().unwrap_or_default();
    line_hash(last.as_bytes())
}
