//! The counts of exceptional work of a process manager. They change when rows become durable, so that no query has to scan the rows.
//!
//! The tally remembers only exceptional rows, as hashes of their keys. For example, a dead letter or a parked instance takes 16 bytes.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use xxhash_rust::xxh3::xxh3_64;

use super::rows::{
    self, CONTROL, ControlRow, DEAD_LETTERS, HELD, InstanceTable, PENDING, STREAMS, Status,
    held_prefix,
};
use crate::disk::FileError;
use crate::journal::{JournalError, Row, RowChange, RowRange, RowStore};

/// The maximum number of rows per read.
const ROWS: usize = 1024;

/// The kinds of work that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    DeadLetters,
    Retries,
    Streams,
    Instances(InstanceTable),
}

/// The effect of a row change on the tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TallyChange {
    Added(Group, u64),
    Removed(Group, u64),
    /// The instances of this table count from now on.
    Table(InstanceTable),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Tally {
    dead_letters: HashSet<u64>,
    retries: HashSet<u64>,
    streams: HashSet<u64>,
    first: HashSet<u64>,
    second: HashSet<u64>,
    table: InstanceTable,
}

/// The current counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tallied {
    /// Instances and streams that hold their events until an operator releases them.
    pub(crate) parked: u64,
    /// Commands, instances and streams with a time for their next attempt.
    pub(crate) retrying: u64,
    pub(crate) dead_letters: u64,
}

impl Tally {
    /// Counts the durable rows. It reads only the exceptional ones. Blocks.
    ///
    /// If a row is damaged, all counts are zero: the process manager itself reports the damage, and parks.
    pub(crate) fn read(rows: &dyn RowStore, name: &str) -> Result<Self, FileError> {
        match Self::read_rows(rows, name) {
            Ok(tally) => Ok(tally),
            Err(JournalError::File(error)) => Err(error),
            Err(JournalError::Damage(damage)) => {
                tracing::warn!(process_manager = name, %damage, "dead letters and parked work cannot be counted");
                Ok(Self::default())
            }
        }
    }

    fn read_rows(rows: &dyn RowStore, name: &str) -> Result<Self, JournalError> {
        let mut tally = Self::default();
        let control = rows.rows(name, &[CONTROL])?;
        if let Some(value) = control.into_iter().flatten().next() {
            tally.note(&[row(CONTROL.into(), value)]);
        }
        for kind in [DEAD_LETTERS, PENDING, STREAMS] {
            let mut range = RowRange::of_kind(kind);
            loop {
                let page = rows.row_range(name, &range, ROWS)?;
                let last = page.last().filter(|_| page.len() == ROWS);
                let next = last.map(|last| range.clone().behind(&last.key));
                tally.note(&page.into_iter().map(of_row).collect::<Vec<_>>());
                match next {
                    Some(next) => range = next,
                    None => break,
                }
            }
        }
        tally.read_instances(rows, name)?;
        Ok(tally)
    }

    /// Counts the parked instances. Each of them holds at least the input that parked it, so only instances with held work are read.
    fn read_instances(&mut self, rows: &dyn RowStore, name: &str) -> Result<(), JournalError> {
        let mut range = RowRange::of_kind(HELD);
        while let Some(held) = rows.row_range(name, &range, 1)?.first() {
            range = match rows::held_of(&held.key) {
                None => range.behind(&held.key),
                Some((instance, _)) => {
                    let key = self.table.key(instance);
                    let found = rows.rows(name, &[&*key])?;
                    if let Some(value) = found.into_iter().flatten().next() {
                        self.note(&[row(key, value)]);
                    }
                    let held = RowRange::numbered(&held_prefix(instance));
                    RowRange {
                        from: held.to,
                        ..range
                    }
                }
            };
        }
        Ok(())
    }

    fn note(&mut self, rows: &[RowChange]) {
        for change in rows.iter().filter_map(TallyChange::of) {
            self.apply(change);
        }
    }

    pub(crate) fn apply(&mut self, change: TallyChange) {
        match change {
            TallyChange::Added(group, key) => drop(self.group(group).insert(key)),
            TallyChange::Removed(group, key) => drop(self.group(group).remove(&key)),
            TallyChange::Table(table) => self.table = table,
        }
    }

    fn group(&mut self, group: Group) -> &mut HashSet<u64> {
        match group {
            Group::DeadLetters => &mut self.dead_letters,
            Group::Retries => &mut self.retries,
            Group::Streams => &mut self.streams,
            Group::Instances(InstanceTable::First) => &mut self.first,
            Group::Instances(InstanceTable::Second) => &mut self.second,
        }
    }

    pub(crate) fn counts(&self) -> Tallied {
        let instances = match self.table {
            InstanceTable::First => &self.first,
            InstanceTable::Second => &self.second,
        };
        Tallied {
            parked: (instances.len() + self.streams.len()) as u64,
            retrying: self.retries.len() as u64,
            dead_letters: self.dead_letters.len() as u64,
        }
    }
}

impl TallyChange {
    /// The effect of a row change, if it has one.
    pub(crate) fn of(row: &RowChange) -> Option<Self> {
        let value = row.value.as_deref();
        let (group, is_counted) = match row.key.get(..1)? {
            DEAD_LETTERS => (Group::DeadLetters, value.is_some()),
            PENDING => (Group::Retries, value.is_some()),
            STREAMS => (Group::Streams, value.is_some_and(waits_for_somebody)),
            CONTROL => {
                let control = value.and_then(|value| rows::read::<ControlRow>(CONTROL, value).ok());
                return Some(Self::Table(control.unwrap_or_default().instances));
            }
            kind => {
                let mut tables = [InstanceTable::First, InstanceTable::Second].into_iter();
                let table = tables.find(|table| table.kind() == kind)?;
                let group = Group::Instances(table);
                (group, value.is_some_and(is_parked))
            }
        };
        let key = xxh3_64(row.key.as_bytes());
        Some(match is_counted {
            true => Self::Added(group, key),
            false => Self::Removed(group, key),
        })
    }
}

fn row(key: Box<str>, value: Box<str>) -> RowChange {
    RowChange {
        key,
        value: Some(value),
    }
}

fn of_row(Row { key, value }: Row) -> RowChange {
    row(key, value)
}

/// Whether the held work in this row has no automatic release.
fn waits_for_somebody(value: &str) -> bool {
    #[derive(Deserialize)]
    struct Held {
        retry: Option<IgnoredAny>,
    }
    serde_json::from_str::<Held>(value).is_ok_and(|held| held.retry.is_none())
}

/// Whether the instance in this row holds its events until an operator releases it.
fn is_parked(value: &str) -> bool {
    #[derive(Deserialize)]
    struct Instance {
        status: Status,
        parked: Option<Box<serde_json::value::RawValue>>,
    }
    // Most of these many rows are not parked, so their states are not parsed.
    if memchr::memmem::find(value.as_bytes(), br#""parked":"#).is_none() {
        return false;
    }
    let instance: Result<Instance, _> = serde_json::from_str(value);
    instance.is_ok_and(|instance| {
        matches!(instance.status, Status::Parked | Status::Releasing)
            && instance
                .parked
                .is_some_and(|parked| waits_for_somebody(parked.get()))
    })
}
