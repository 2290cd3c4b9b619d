//! The origin of events that a process manager causes, as their `meta` records it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::command::CommandContext;
use crate::event::RecordedEvent;
use crate::journal::{JournalError, Log};
use crate::process_manager::StoredDeadline;

/// The maximum number of process managers in the report of a chain.
const REPORTED_NAMES: usize = 16;

/// The cause of a process manager's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cause {
    /// The id of the source event.
    pub(crate) causation_id: Box<str>,
    /// The conversation of the source event: the correlation id that it names, or its own id if it starts a conversation.
    pub(crate) correlation_id: Box<str>,
    /// The number of reactions in the chain. For example, 1 for a reaction to an event of a direct command.
    pub(crate) depth: u32,
}

impl Cause {
    /// The cause of commands from a reaction to this event.
    pub(crate) fn of(event: &RecordedEvent) -> Self {
        // An injected event may have no id. Its position, which is unique, stands for the id.
        let id: Box<str> = match &event.id {
            Some(id) => id.as_str().into(),
            None => format!("@{}", event.position).into(),
        };
        let entry = |name: &str| event.meta.as_ref().and_then(|meta| meta.get(name));
        let correlation_id = entry("correlation_id").and_then(|id| id.as_str());
        let depth = entry("depth").and_then(serde_json::Value::as_u64);
        Self {
            correlation_id: correlation_id.map_or_else(|| id.clone(), Into::into),
            causation_id: id,
            depth: u32::try_from(depth.unwrap_or_default())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
        }
    }
}

impl Cause {
    /// The absence of a cause.
    pub(crate) fn none() -> Self {
        Self {
            causation_id: "".into(),
            correlation_id: "".into(),
            depth: 0,
        }
    }

    /// The cause of commands from a reaction to a deadline: the cause of the reaction that armed it.
    pub(crate) fn of_deadline(deadline: &StoredDeadline, depth: u32) -> Self {
        let source = &deadline.source;
        let id: Box<str> = match &source.event_id {
            Some(id) => id.as_str().into(),
            None => format!("@{}", source.position).into(),
        };
        let correlation_id = source.correlation_id.as_deref();
        Self {
            correlation_id: correlation_id.map_or_else(|| id.clone(), Into::into),
            causation_id: id,
            depth,
        }
    }
}

/// The information in the events of a process manager's command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) command_id: &'a str,
    pub(crate) cause: &'a Cause,
}

impl Origin<'_> {
    /// Adds the origin to the stored line of an event, after the entries of the context.
    pub(super) fn add_to(&self, line: &mut String, has_meta: bool, context: &CommandContext) {
        // A line is an object, and `meta` is its last field, if it has one.
        let kept = line.len().saturating_sub(if has_meta { 2 } else { 1 });
        line.truncate(kept);
        let Cause {
            causation_id,
            correlation_id,
            depth,
        } = self.cause;
        // At least the names of the entries, and the texts.
        line.reserve(128 + self.command_id.len() + causation_id.len() + correlation_id.len());
        line.push_str(if has_meta { "," } else { ",\"meta\":{" });
        line.push_str("\"command_id\":\"");
        line.push_str(self.command_id);
        line.push_str("\",\"causation_id\":");
        push_string(line, causation_id);
        if context.correlation_id.is_none() {
            line.push_str(",\"correlation_id\":");
            push_string(line, correlation_id);
        }
        line.push_str(",\"depth\":");
        line.push_str(itoa::Buffer::new().format(*depth));
        line.push_str("}}");
    }
}

fn push_string(line: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // Every byte is looked at: without an early end, the compiler compares many at once.
    let all_plain = |is_plain_so_far, byte| is_plain_so_far & is_plain(byte);
    if text.bytes().fold(true, all_plain) {
        line.push('"');
        line.push_str(text);
        line.push('"');
    } else {
        line.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// The permanent id of a command: the one at `index` among the commands of an instance, in its generation, from its reaction at `position`.
pub(crate) fn command_id(
    process_manager: &str,
    instance: &str,
    generation: u64,
    position: u64,
    index: usize,
) -> String {
    let mut hash = Xxh3::new();
    for text in [process_manager, instance] {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    for number in [generation, position, index as u64] {
        hash.update(&number.to_le_bytes());
    }
    hexadecimal(hash.digest128())
}

/// The 32 digits of a number. Each reaction writes one, and formatting takes three times as long.
fn hexadecimal(number: u128) -> String {
    let nibbles = number
        .to_be_bytes()
        .into_iter()
        .flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles
        .filter_map(|nibble| char::from_digit(u32::from(nibble), 16))
        .collect()
}

/// Names the process managers whose reactions led to the event at `position`, from the first to the last. Blocks.
///
/// A commit records the position of its process manager. For an immediate reaction, this is the position of the source event. After a
/// deadline, a release or a retry, it may be another event, and the path is cut there.
///
/// # Errors
///
/// The errors of reading the journal.
pub(super) fn path_to(
    log: &dyn Log,
    mut position: u64,
    last: &str,
) -> Result<String, JournalError> {
    let mut names: Vec<Arc<str>> = vec![last.into()];
    let mut is_cut = false;
    let mut event = Link::at(log, position)?;
    while let Some(Link {
        reaction: Some((name, source)),
        causation_id,
        ..
    }) = event
    {
        is_cut = names.len() >= REPORTED_NAMES;
        if is_cut {
            break;
        }
        names.push(name);
        event = Link::at(log, source)?;
        let is_cause = |event: &Link| causation_id.as_deref() == Some(&*event.id);
        is_cut = source >= position || !event.as_ref().is_some_and(is_cause);
        if is_cut {
            break;
        }
        position = source;
    }
    names.reverse();
    let path = names.join(" -> ");
    Ok(if is_cut {
        format!(".. -> {path}")
    } else {
        path
    })
}

/// One event of a chain.
struct Link {
    /// The causation id of the events that it causes.
    id: Box<str>,
    causation_id: Option<Box<str>>,
    /// The process manager that caused the event, and its position then.
    reaction: Option<(Arc<str>, u64)>,
}

impl Link {
    /// The event at a position, if it can be read.
    fn at(log: &dyn Log, position: u64) -> Result<Option<Self>, JournalError> {
        let Some(commit) = log.commit_at(position)? else {
            return Ok(None);
        };
        let event = commit
            .event_at(position)
            .and_then(|event| event.read().ok());
        Ok(event.map(|event| {
            let meta = event.meta.as_ref();
            let causation_id = meta.and_then(|meta| meta.get("causation_id")?.as_str());
            Self {
                causation_id: causation_id.map(Into::into),
                id: Cause::of(&event).causation_id,
                reaction: commit.reaction.clone(),
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_id_depends_on_all_that_names_the_command() {
        let base = command_id("saga", "a", 0, 1, 0);
        assert_eq!(base.len(), 32);
        assert_eq!(base, command_id("saga", "a", 0, 1, 0));
        for other in [
            command_id("sagaa", "", 0, 1, 0),
            command_id("saga", "b", 0, 1, 0),
            command_id("saga", "a", 1, 1, 0),
            command_id("saga", "a", 0, 2, 0),
            command_id("saga", "a", 0, 1, 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for number in [0, 1, 0xabc, u128::MAX, 0x0123_4567_89ab_cdef_u128 << 64] {
            assert_eq!(hexadecimal(number), format!("{number:032x}"));
        }
    }

    #[test]
    fn strings_are_written_as_json() -> Result<(), serde_json::Error> {
        for text in ["", "plain", "ö\u{1F980}", "a\"b\\c\n"] {
            let mut line = String::new();
            push_string(&mut line, text);
            assert_eq!(serde_json::from_str::<String>(&line)?, text);
        }
        Ok(())
    }
}
