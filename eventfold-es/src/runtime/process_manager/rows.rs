//! What a process manager keeps in rows, and under which keys.
//!
//! | key | value |
//! |---|---|
//! | `i` instance | [`InstanceRow`] |
//! | `j` instance | the same: [`ControlRow`] says which of both counts |
//! | `t` due, instance, name | [`TimerRow`] |
//! | `p` next attempt, command id | [`CommandRow`]: a command that is tried again |
//! | `p` next attempt, `@` instance or `#` stream | [`RetriedRow`]: what is released then |
//! | `d` position, index, id | [`CommandRow`], or [`ReactionRow`]: a dead letter |
//! | `h` instance, position, index | [`HeldRow`]: what a parked instance still owes |
//! | `S` stream | [`ParkedRow`]: a stream that is held since an event of it cannot be read |
//! | `s` stream, position | [`HeldRow`] |
//! | `r` instance | [`Marker`]: it is being released, which goes on after a restart |
//! | `R` stream | [`Marker`]: the same |
//! | `k` position, instance | [`PassedRow`]: an event that was passed over; of all instances, if none is named |
//! | `k` key of another row | a deadline or a command that was passed over |
//! | `f` | [`FiredRow`]: the deadline that was reached last. In the journal, all of them are found |
//! | `c` | [`ControlRow`] |
//! | `v` | [`VersionRow`], if it is not the default |
//!
//! Numbers are 16 hexadecimal digits, so that keys are in their order; where text follows text, its length stands before it.

mod keys;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::seconds_since_1970;
use crate::envelope::CommandEnvelope;
use crate::journal::{RowChange, StreamId};
use crate::process_manager::{Backoff, FailureCause, SourceEvent, StoredDeadline};
use crate::runtime::origin::{Cause, command_id};

pub(super) use keys::{
    BEHIND_EVENT, due_of, held_deadline_key, held_key, held_of, passed_key, passed_of, pending_key,
    releasing_stream_key, stream_held_at, stream_held_key, timer_key, timers_until,
};
pub(crate) use keys::{dead_letter_key, held_prefix, stream_held_prefix, stream_key, stream_of};

pub(crate) const TIMERS: &str = "t";
pub(crate) const PENDING: &str = "p";
pub(crate) const DEAD_LETTERS: &str = "d";
pub(crate) const HELD: &str = "h";
pub(crate) const STREAMS: &str = "S";
pub(super) const STREAM_HELD: &str = "s";
pub(crate) const RELEASING: &str = "r";
pub(super) const RELEASING_STREAMS: &str = "R";
pub(super) const PASSED: &str = "k";
pub(super) const FIRED: &str = "f";
pub(crate) const CONTROL: &str = "c";
pub(crate) const VERSION: &str = "v";

/// Whether an instance takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    Open,
    /// It holds what comes until it is released.
    Parked,
    /// It is being released: what it holds is reacted to first.
    Releasing,
    Completed,
}

/// Under which keys the instances are. What is made again is made under the others, which count from one commit on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InstanceTable {
    #[default]
    First,
    Second,
}

impl InstanceTable {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::First => "i",
            Self::Second => "j",
        }
    }

    pub(crate) fn key(self, instance: &str) -> Box<str> {
        format!("{}{instance}", self.kind()).into()
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn is_first(&self) -> bool {
        *self == Self::First
    }
}

/// One instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InstanceRow {
    /// Which of those that had its key, from 1.
    pub(crate) generation: u64,
    pub(crate) status: Status,
    /// The version of the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    /// None when it is completed, and without `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<Box<RawValue>>,
    /// When each of its deadlines is due, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) timers: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<ParkedRow>,
    /// Whether it had completed when it was parked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_complete: bool,
}

/// Why something is held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ParkedRow {
    pub(crate) position: u64,
    pub(crate) reason: String,
    /// Seconds since 1970.
    pub(crate) ts: u64,
    /// What is tried again, if it is parked until then only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<Box<RetryRow>>,
}

impl ParkedRow {
    pub(super) fn new(position: u64, reason: String) -> Self {
        Self {
            position,
            reason,
            ts: seconds_since_1970(),
            retry: None,
        }
    }
}

impl ParkedRow {
    /// Whether it is this that is tried again.
    pub(super) fn tries(&self, what: &str) -> bool {
        self.retry
            .as_ref()
            .is_some_and(|retry| &*retry.what == what)
    }

    /// Whether it is the same attempt at the same that comes next.
    pub(super) fn waits_as(&self, other: &Self) -> bool {
        let next = |parked: &Self| {
            let retry = parked.retry.as_ref()?;
            Some((retry.due, retry.count, retry.what.clone()))
        };
        next(self) == next(other)
    }
}

/// An event or a deadline that is shown again later.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RetryRow {
    /// When, in milliseconds since 1970.
    pub(crate) due: u64,
    /// Which it is.
    pub(super) what: Box<str>,
    /// How many attempts have failed.
    pub(super) count: u32,
    /// The first of them, and the last ones.
    pub(super) attempts: Vec<AttemptRow>,
}

/// Who is released when the time has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RetriedRow {
    Instance(String),
    /// Its aggregate type and its id.
    Stream(String, String),
}

impl RetriedRow {
    pub(super) fn of_stream(stream: &StreamId) -> Self {
        Self::Stream(
            stream.aggregate_type.to_string(),
            stream.instance_id.to_string(),
        )
    }

    pub(super) fn key(&self, due: u64) -> Box<str> {
        match self {
            Self::Instance(key) => format!("{PENDING}{due:016x}@{key}"),
            Self::Stream(aggregate_type, id) => {
                let length = aggregate_type.len();
                format!("{PENDING}{due:016x}#{length:04x}{aggregate_type}{id}")
            }
        }
        .into()
    }
}

/// A deadline that is armed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TimerRow {
    pub(crate) key: String,
    pub(crate) generation: u64,
    pub(crate) depth: u32,
    /// The [id](Self::id) of the deadline in whose reaction it was armed, if it was none of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) armed_by: Option<Box<str>>,
    pub(crate) deadline: StoredDeadline,
}

impl TimerRow {
    /// What tells it from others of its instance. Those of one name and one time may be several, one after the other: armed by
    /// different events, or when different deadlines were reached that have one event behind them.
    pub(super) fn identity(&self) -> String {
        let StoredDeadline { name, source, .. } = &self.deadline;
        // No name has a line break.
        match &self.armed_by {
            None => format!("{}\n{name}", source.position),
            Some(armed_by) => format!("{}\n{name}\n{armed_by}", source.position),
        }
    }

    /// Names it for ever, among those of its process manager.
    pub(super) fn id(&self, process_manager: &str) -> Box<str> {
        let instance = format!("{}\n{}", self.key, self.identity());
        let due = self.deadline.due_ms;
        command_id(process_manager, &instance, self.generation, due, 0).into()
    }
}

/// A deadline that was reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FiredRow {
    /// The last event that its instance was shown before, or would have been if it were not parked.
    pub(super) at: u64,
    pub(super) timer: TimerRow,
}

/// What a parked instance, or a held stream, still owes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HeldRow {
    /// The event at this position, which has not been shown.
    Event(u64),
    /// The same, of one that was shown and could not be reacted to; it may have begun the instance.
    Failed(u64),
    Deadline(Box<TimerRow>),
    Command(Box<CommandRow>),
}

/// One failed attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AttemptRow {
    pub(crate) kind: String,
    pub(crate) error: String,
    /// Seconds since 1970.
    pub(crate) ts: u64,
}

impl AttemptRow {
    pub(super) fn new(cause: &FailureCause) -> Self {
        Self {
            kind: cause.kind().to_owned(),
            error: cause.to_string(),
            ts: seconds_since_1970(),
        }
    }
}

/// A command that was not executed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CommandRow {
    pub(crate) envelope: CommandEnvelope,
    pub(crate) command_id: String,
    pub(crate) key: String,
    pub(crate) generation: u64,
    pub(crate) cause: Cause,
    pub(crate) source: SourceEvent,
    pub(crate) attempts: Vec<AttemptRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) backoff: Option<Backoff>,
    pub(crate) is_compensation: bool,
    /// Which of the commands of its reaction it is.
    pub(crate) index: usize,
    /// Whether it is, or was, a dead letter.
    pub(crate) is_dead: bool,
}

/// An event or a deadline that was not reacted to, and became a dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReactionRow {
    pub(crate) reaction: HeldRow,
    /// The instance; empty for all that the event belongs to, and without `key`.
    pub(crate) key: String,
    pub(super) generation: u64,
    pub(crate) source: SourceEvent,
    pub(crate) attempts: Vec<AttemptRow>,
}

/// A dead letter.
#[derive(Debug, Clone)]
pub(crate) enum DeadRow {
    Command(Box<CommandRow>),
    Reaction(Box<ReactionRow>),
}

impl DeadRow {
    /// Reads one; the reason if it cannot be read.
    pub(crate) fn read(key: &str, value: &str) -> Result<Self, String> {
        match read::<ReactionRow>(key, value) {
            Ok(reaction) => Ok(Self::Reaction(Box::new(reaction))),
            Err(_) => read(key, value).map(|command| Self::Command(Box::new(command))),
        }
    }
}

/// A row that says all by being there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Marker {}

/// How the states of a process manager are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    pub(crate) state_version: u32,
    pub(crate) is_keyed: bool,
}

impl Default for VersionRow {
    fn default() -> Self {
        Self {
            state_version: 1,
            is_keyed: false,
        }
    }
}

/// What an operator has decided.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ControlRow {
    /// Whether it reacts to nothing until it is resumed.
    pub(crate) is_paused: bool,
    /// Where its instances are.
    #[serde(default, skip_serializing_if = "InstanceTable::is_first")]
    pub(crate) instances: InstanceTable,
    /// The row of the deadline or the command at which it stays as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stays_at: Option<Box<str>>,
}

/// An event that an instance has passed over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PassedRow {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<SourceEvent>,
    /// Whether it began the instance all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) begins: bool,
}

/// The change that stores a value; rows hold nothing that does not serialize.
pub(crate) fn put(key: Box<str>, value: &impl Serialize) -> RowChange {
    let value = serde_json::to_string(value).unwrap_or_else(|error| {
        tracing::error!(key, %error, "a row does not serialize");
        "{}".to_owned()
    });
    // A commit is one line.
    let value = match value.contains(['\n', '\r']) {
        false => value,
        true => serde_json::from_str::<serde_json::Value>(&value)
            .map(|value| value.to_string())
            .unwrap_or(value),
    };
    RowChange {
        key,
        value: Some(value.into()),
    }
}

pub(super) fn remove(key: Box<str>) -> RowChange {
    RowChange { key, value: None }
}

/// The value of a row; the reason if it cannot be read.
pub(crate) fn read<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, String> {
    serde_json::from_str(value).map_err(|error| format!("the row {key:?} does not read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_time_and_do_not_mix() {
        assert!(timer_key(9, "b", "x") < timer_key(10, "a", "x"));
        assert_eq!(due_of(&timer_key(77, "b", "x")), Some(77));
        assert_eq!(due_of(&pending_key(u64::MAX, "id")), Some(u64::MAX));
        assert!(held_key("a", 1, 0, "") < held_key("a", 1, BEHIND_EVENT, ""));
        assert!(held_key("a", 1, BEHIND_EVENT, "") < held_key("a", 2, 0, ""));
        assert!(held_key("a", 1, BEHIND_EVENT + 9, "f") < held_deadline_key("a", 1, 5, "z"));
        assert!(held_deadline_key("a", 1, 5, "z") < held_deadline_key("a", 1, 8, "a"));
        assert!(held_deadline_key("a", 1, 8, "a") < held_key("a", 2, 0, ""));
        assert!(!held_key("ab", 1, 0, "").starts_with(&held_prefix("a")));
        let stream = StreamId::new("order", "a/ö");
        assert_eq!(stream_of(&stream_key(&stream)), Some(stream.clone()));
        let other = StreamId::new("order", "a/ö1");
        assert!(!stream_held_key(&other, 1).starts_with(&stream_held_prefix(&stream)));
        let held = held_key("a\u{f6}", 7, BEHIND_EVENT, "x");
        assert_eq!(held_of(&held), Some(("a\u{f6}", 7)));
        assert_eq!(stream_held_at(&stream_held_key(&stream, 9)), Some(9));
        assert_eq!(passed_of(&passed_key(3, "b")), Some((3, "b")));
        assert_eq!(passed_of(&passed_key(3, "")), Some((3, "")));
    }
}
