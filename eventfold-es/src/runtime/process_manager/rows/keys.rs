//! Under which keys rows are.

use super::{DEAD_LETTERS, HELD, PASSED, PENDING, RELEASING_STREAMS, STREAM_HELD, STREAMS, TIMERS};
use crate::journal::StreamId;

/// The key for an event that an instance has passed over; for one that all have, if it is the empty one.
pub(in crate::runtime::process_manager) fn passed_key(position: u64, instance: &str) -> Box<str> {
    format!("{PASSED}{position:016x}{instance}").into()
}

/// The position and the instance in such a key.
pub(in crate::runtime::process_manager) fn passed_of(key: &str) -> Option<(u64, &str)> {
    let (position, instance) = key.get(1..)?.split_at_checked(16)?;
    Some((u64::from_str_radix(position, 16).ok()?, instance))
}

pub(in crate::runtime::process_manager) fn timer_key(due: u64, key: &str, name: &str) -> Box<str> {
    format!("{TIMERS}{due:016x}{:04x}{key}{name}", key.len()).into()
}

/// Before the keys of all deadlines that are due at `time` or later, and behind those of all others.
pub(in crate::runtime::process_manager) fn timers_until(time: u64) -> Box<str> {
    format!("{TIMERS}{time:016x}").into()
}

pub(in crate::runtime::process_manager) fn pending_key(due: u64, command_id: &str) -> Box<str> {
    format!("{PENDING}{due:016x}{command_id}").into()
}

pub(crate) fn dead_letter_key(position: u64, index: usize, command_id: &str) -> Box<str> {
    format!("{DEAD_LETTERS}{position:016x}{index:08x}{command_id}").into()
}

/// When what stands under the key of a timer or of a pending command is due.
pub(in crate::runtime::process_manager) fn due_of(key: &str) -> Option<u64> {
    u64::from_str_radix(key.get(1..17)?, 16).ok()
}

/// The instance and the position in the key of what an instance holds.
pub(in crate::runtime::process_manager) fn held_of(key: &str) -> Option<(&str, u64)> {
    let length = usize::from_str_radix(key.get(1..5)?, 16).ok()?;
    let (instance, rest) = key.get(5..)?.split_at_checked(length)?;
    let position = u64::from_str_radix(rest.get(..16)?, 16).ok()?;
    Some((instance, position))
}

/// The position in the key of what a stream holds.
pub(in crate::runtime::process_manager) fn stream_held_at(key: &str) -> Option<u64> {
    let position = key.get(key.len().checked_sub(16)?..)?;
    u64::from_str_radix(position, 16).ok()
}

/// All that an instance holds begins with this.
pub(crate) fn held_prefix(key: &str) -> String {
    format!("{HELD}{:04x}{key}", key.len())
}

pub(in crate::runtime::process_manager) fn held_key(
    key: &str,
    position: u64,
    index: usize,
    name: &str,
) -> Box<str> {
    format!("{}{position:016x}{index:08x}{name}", held_prefix(key)).into()
}

/// Behind the events of the same position: commands and deadlines that were held there.
pub(in crate::runtime::process_manager) const BEHIND_EVENT: usize = 1;
/// Behind those: no reaction sends so many commands.
const BEHIND_COMMANDS: usize = 1 << 30;

/// Where a deadline is held: behind what else is held at the position, in the order in which deadlines were due.
pub(in crate::runtime::process_manager) fn held_deadline_key(
    key: &str,
    position: u64,
    due: u64,
    name: &str,
) -> Box<str> {
    held_key(key, position, BEHIND_COMMANDS, &format!("{due:016x}{name}"))
}

pub(crate) fn stream_key(stream: &StreamId) -> Box<str> {
    let (aggregate_type, id) = (&stream.aggregate_type, &stream.instance_id);
    format!("{STREAMS}{:04x}{aggregate_type}{id}", aggregate_type.len()).into()
}

pub(in crate::runtime::process_manager) fn releasing_stream_key(stream: &StreamId) -> Box<str> {
    let (aggregate_type, id) = (&stream.aggregate_type, &stream.instance_id);
    format!(
        "{RELEASING_STREAMS}{:04x}{aggregate_type}{id}",
        aggregate_type.len()
    )
    .into()
}

/// The stream that a key of [`stream_key`] or [`releasing_stream_key`] names.
pub(crate) fn stream_of(key: &str) -> Option<StreamId> {
    let length = usize::from_str_radix(key.get(1..5)?, 16).ok()?;
    let (aggregate_type, id) = key.get(5..)?.split_at_checked(length)?;
    Some(StreamId::new(aggregate_type, id))
}

pub(crate) fn stream_held_prefix(stream: &StreamId) -> String {
    let (aggregate_type, id) = (&stream.aggregate_type, &stream.instance_id);
    format!(
        "{STREAM_HELD}{:04x}{aggregate_type}{:04x}{id}",
        aggregate_type.len(),
        id.len()
    )
}

pub(in crate::runtime::process_manager) fn stream_held_key(
    stream: &StreamId,
    position: u64,
) -> Box<str> {
    format!("{}{position:016x}", stream_held_prefix(stream)).into()
}
