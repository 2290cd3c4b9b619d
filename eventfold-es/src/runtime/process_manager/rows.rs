//! The rows of a process manager, and their keys.
//!
//! | key | value |
//! |---|---|
//! | `i` instance | [`InstanceRow`] |
//! | `j` instance | the same: [`ControlRow`] selects the current table |
//! | `t` due, instance, name | [`TimerRow`] |
//! | `p` next attempt, command id | [`CommandRow`]: a command that is retried |
//! | `p` next attempt, `@` instance or `#` stream | [`RetriedRow`]: the held work to release at that time |
//! | `d` position, index, id | [`CommandRow`], or [`ReactionRow`]: a dead letter |
//! | `h` instance, position, index | [`HeldRow`]: held work of a parked instance |
//! | `S` stream | [`HoldRow`]: a stream that is held since one of its events failed to correlate |
//! | `s` stream, position | [`HeldRow`] |
//! | `r` instance | [`Marker`]: the release of the instance has begun, and continues after a restart |
//! | `R` stream | [`Marker`]: the same |
//! | `k` position, instance | [`PassedRow`]: a skipped event; without an instance, skipped for all of them |
//! | `k` key of another row | a skipped deadline or command |
//! | `f` | [`FiredRow`]: the last deadline that fired. The journal contains all of them |
//! | `c` | [`ControlRow`] |
//! | `v` | [`VersionRow`], if it is not the default |
//!
//! Numbers have 16 hexadecimal digits, so that keys sort in numeric order. If more text follows a text, its length precedes it.

mod keys;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::CommandEnvelope;
use crate::journal::{RowChange, StreamId};
use crate::process_manager::{Backoff, FailureCause, SourceEvent, StoredDeadline};
use crate::runtime::Reactions;
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

/// The participation of an instance in its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    Open,
    /// It holds new events until it is released.
    Parked,
    /// Its release has begun: it handles its held work first.
    Releasing,
    Completed,
}

/// The kind of key under which the instances are stored. A rebuild writes to the other table, and one commit switches to it.
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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InstanceRow {
    /// The number of this instance among all instances of its key, from 1.
    pub(crate) generation: u64,
    pub(crate) status: Status,
    /// The version of the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    /// `None` for a completed instance, and without `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<Box<RawValue>>,
    /// The due time of each armed deadline, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) timers: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<HoldRow>,
    /// Whether the instance had completed before it was parked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_complete: bool,
}

/// The reason why an instance or a stream is held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HoldRow {
    pub(crate) position: u64,
    pub(crate) reason: String,
    /// Seconds since 1970.
    pub(crate) ts: u64,
    /// The retry that ends the hold, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<Box<RetryRow>>,
}

impl HoldRow {
    /// A hold that an operator ends.
    pub(super) fn new(position: u64, reason: String, ts: u64) -> Self {
        Self {
            position,
            reason,
            ts,
            retry: None,
        }
    }

    /// The retry that ends the hold, if it is a retry of `what`.
    pub(super) fn retry_of(&self, what: &str) -> Option<&RetryRow> {
        self.retry.as_deref().filter(|retry| &*retry.what == what)
    }

    /// The outcome for callers that wait for held work.
    pub(super) fn outcome(&self) -> Reactions {
        match self.retry {
            Some(_) => Reactions::Retrying,
            None => Reactions::Parked,
        }
    }

    /// Whether both wait for the same attempt at the same work.
    pub(super) fn waits_as(&self, other: &Self) -> bool {
        let next = |parked: &Self| {
            let retry = parked.retry.as_ref()?;
            Some((retry.due, retry.count, retry.what.clone()))
        };
        next(self) == next(other)
    }
}

/// An event or a deadline whose delivery is retried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RetryRow {
    /// The time of the next attempt, in milliseconds since 1970.
    pub(crate) due: u64,
    /// The key that identifies the event or deadline.
    pub(super) what: Box<str>,
    /// The number of failed attempts.
    pub(super) count: u32,
    /// The first failed attempt and the most recent ones.
    pub(super) attempts: Vec<AttemptRow>,
}

impl RetryRow {
    /// The retry of work that has not failed yet.
    pub(super) fn none(what: &str) -> Self {
        Self {
            due: 0,
            what: what.into(),
            count: 0,
            attempts: Vec::new(),
        }
    }
}

/// The instance or stream to release at the time of its retry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RetriedRow {
    Instance(String),
    /// The aggregate type and the id.
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

/// An armed deadline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TimerRow {
    pub(crate) key: String,
    pub(crate) generation: u64,
    pub(crate) depth: u32,
    /// The [id](Self::id) of the deadline whose reaction armed this one. `None` if an event armed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) armed_by: Option<Box<str>>,
    pub(crate) deadline: StoredDeadline,
}

impl TimerRow {
    /// Identifies the deadline among those of its instance. An instance can arm several deadlines with the same name and due time, one
    /// after the other. For example, two events arm one each, or two deadlines with the same source event do.
    pub(super) fn identity(&self) -> String {
        let StoredDeadline { name, source, .. } = &self.deadline;
        // A name contains no line break.
        match &self.armed_by {
            None => format!("{}\n{name}", source.position),
            Some(armed_by) => format!("{}\n{name}\n{armed_by}", source.position),
        }
    }

    /// The unique and permanent id of the deadline in its process manager.
    pub(super) fn id(&self, process_manager: &str) -> Box<str> {
        let instance = format!("{}\n{}", self.key, self.identity());
        let due = self.deadline.due_ms;
        command_id(process_manager, &instance, self.generation, due, 0).into()
    }
}

/// A fired deadline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FiredRow {
    /// The last position before the deadline in the order of delivery to its instance, whether or not the instance is parked.
    pub(super) at: u64,
    pub(super) timer: TimerRow,
}

/// Held work of a parked instance or of a held stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HeldRow {
    /// The event at this position, not yet delivered.
    Event(u64),
    /// The event at this position, delivered without success. It may have started the instance.
    Failed(u64),
    Deadline(Box<TimerRow>),
    Command(Box<CommandRow>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AttemptRow {
    pub(crate) kind: String,
    pub(crate) error: String,
    /// Seconds since 1970.
    pub(crate) ts: u64,
}

impl AttemptRow {
    pub(super) fn new(cause: &FailureCause, ts: u64) -> Self {
        Self {
            kind: cause.kind().to_owned(),
            error: cause.to_string(),
            ts,
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
    /// The index of the command in its reaction.
    pub(crate) index: usize,
    /// Whether the command is or was a dead letter.
    pub(crate) is_dead: bool,
}

/// An event or a deadline whose reaction failed, as a dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReactionRow {
    pub(crate) reaction: HeldRow,
    /// The instance key. Empty if the letter concerns all instances of the event, and without `key`.
    pub(crate) key: String,
    pub(super) generation: u64,
    pub(crate) source: SourceEvent,
    pub(crate) attempts: Vec<AttemptRow>,
}

#[derive(Debug, Clone)]
pub(crate) enum DeadRow {
    Command(Box<CommandRow>),
    Reaction(Box<ReactionRow>),
}

impl DeadRow {
    /// Reads a dead letter.
    ///
    /// # Errors
    ///
    /// The reason, if the row does not decode.
    pub(crate) fn read(key: &str, value: &str) -> Result<Self, String> {
        match read::<ReactionRow>(key, value) {
            Ok(reaction) => Ok(Self::Reaction(Box::new(reaction))),
            Err(_) => read(key, value).map(|command| Self::Command(Box::new(command))),
        }
    }
}

/// A row whose presence is its only information.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Marker {}

/// The format of the stored states of a process manager.
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

/// The decisions of operators.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ControlRow {
    /// Whether the process manager handles nothing until it is resumed.
    pub(crate) is_paused: bool,
    /// The current table of instances.
    #[serde(default, skip_serializing_if = "InstanceTable::is_first")]
    pub(crate) instances: InstanceTable,
    /// The row of the deadline or command at which the whole process manager halts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stays_at: Option<Box<str>>,
}

/// An event that an instance skipped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PassedRow {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<SourceEvent>,
    /// Whether the event started the instance nevertheless.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) begins: bool,
}

/// The change that stores a value. Every type of row serializes.
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

/// Decodes the value of a row.
///
/// # Errors
///
/// The reason, if the value does not decode.
pub(crate) fn read<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, String> {
    serde_json::from_str(value).map_err(|error| format!("the row {key:?} does not decode: {error}"))
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
