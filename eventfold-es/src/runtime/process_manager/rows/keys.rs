//! The keys of rows.

use super::{DEAD_LETTERS, HELD, PASSED, PENDING, RELEASING_STREAMS, STREAM_HELD, STREAMS, TIMERS};
use crate::journal::StreamId;

/// The key for an event that an instance skipped. An empty instance stands for all instances.
pub(in crate::runtime::process_manager) fn passed_key(position: u64, instance: &str) -> Box<str> {
    format!("{PASSED}{position:016x}{instance}").into()
}

/// The position and the instance in a [`passed_key`].
pub(in crate::runtime::process_manager) fn passed_of(key: &str) -> Option<(u64, &str)> {
    let (position, instance) = key.get(1..)?.split_at_checked(16)?;
    Some((u64::from_str_radix(position, 16).ok()?, instance))
}

pub(in crate::runtime::process_manager) fn timer_key(due: u64, key: &str, name: &str) -> Box<str> {
    format!("{TIMERS}{due:016x}{:04x}{key}{name}", key.len()).into()
}

/// A limit between keys: deadlines due before `time` sort before it, all later ones after it.
pub(in crate::runtime::process_manager) fn timers_until(time: u64) -> Box<str> {
    format!("{TIMERS}{time:016x}").into()
}

pub(in crate::runtime::process_manager) fn pending_key(due: u64, command_id: &str) -> Box<str> {
    format!("{PENDING}{due:016x}{command_id}").into()
}

pub(crate) fn dead_letter_key(position: u64, index: usize, command_id: &str) -> Box<str> {
    format!("{DEAD_LETTERS}{position:016x}{index:08x}{command_id}").into()
}

/// The due time in the key of a timer or of a retry.
pub(in crate::runtime::process_manager) fn due_of(key: &str) -> Option<u64> {
    u64::from_str_radix(key.get(1..17)?, 16).ok()
}

/// The instance and the position in the key of held work of an instance.
pub(in crate::runtime::process_manager) fn held_of(key: &str) -> Option<(&str, u64)> {
    let length = usize::from_str_radix(key.get(1..5)?, 16).ok()?;
    let (instance, rest) = key.get(5..)?.split_at_checked(length)?;
    let position = u64::from_str_radix(rest.get(..16)?, 16).ok()?;
    Some((instance, position))
}

/// The position in the key of held work of a stream.
pub(in crate::runtime::process_manager) fn stream_held_at(key: &str) -> Option<u64> {
    let position = key.get(key.len().checked_sub(16)?..)?;
    u64::from_str_radix(position, 16).ok()
}

/// The prefix of the keys of all held work of an instance.
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

/// The index after the event of the same position: commands that are held there.
pub(in crate::runtime::process_manager) const BEHIND_EVENT: usize = 1;
/// The index after these commands, where deadlines are held. No reaction sends this many commands.
const BEHIND_COMMANDS: usize = 1 << 30;

/// The key of a held deadline. It sorts after all other held work of the position, in the order of due times.
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

/// The stream in a [`stream_key`] or a [`releasing_stream_key`].
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
