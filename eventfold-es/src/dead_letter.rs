//! Dead letters: rejected commands of process managers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::CommandEnvelope;
use crate::nesting;
use crate::process_manager::SourceEvent;

/// A command of a process manager that was not executed: a line of `dead_letters.jsonl`, which has one JSON object per
/// line.
///
/// # Examples
///
/// ```
/// let line = r#"{"envelope":{"aggregate_type":"inventory","instance_id":"inv-POST","command":{"Reserve":{"qty":3}},
///     "context":{"actor":null,"correlation_id":null,"metadata":null}},"error":"POST is not stocked","ts":1700000000}"#;
/// let letter: eventfold_es::DeadLetter = serde_json::from_str(line)?;
/// assert_eq!(letter.envelope.instance_id, "inv-POST");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The command with its address.
    pub envelope: CommandEnvelope,
    /// The reason.
    pub error: String,
    /// The time, in seconds since 1970.
    pub ts: u64,
}

/// A dead letter to be written.
#[derive(Serialize)]
pub(crate) struct DeadLetterLine<'a> {
    pub(crate) envelope: &'a CommandEnvelope,
    pub(crate) error: &'a str,
    pub(crate) ts: u64,
}

impl DeadLetterLine<'_> {
    pub(crate) fn to_line(&self) -> Box<str> {
        let readable = DeadLetterLine {
            envelope: &readable(self.envelope),
            ..*self
        };
        // JSON values and strings always serialize.
        serde_json::to_string(&readable).unwrap_or_default().into()
    }
}

/// An event or a deadline that was not handled, as a dead letter.
#[derive(Serialize, Deserialize)]
pub(crate) struct UnreactedLine {
    pub(crate) source: SourceEvent,
    /// The instance; empty for a process manager without `key`.
    pub(crate) instance: String,
    pub(crate) error: String,
    /// Seconds since 1970.
    pub(crate) ts: u64,
}

impl UnreactedLine {
    pub(crate) fn to_line(&self) -> Box<str> {
        // Strings and numbers always serialize.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// The envelope, in a form that can be read back from every place of storage.
pub(crate) fn readable(envelope: &CommandEnvelope) -> CommandEnvelope {
    let is_deeper = |value: &Value| nesting::is_deeper(&value.to_string(), nesting::MAX_DEPTH);
    match is_deeper(&envelope.command) || envelope.context.metadata.as_ref().is_some_and(is_deeper)
    {
        false => envelope.clone(),
        true => as_text(envelope),
    }
}

/// Stores JSON that nests too deeply to be read back as text: one letter must not make the others unreadable.
fn as_text(envelope: &CommandEnvelope) -> CommandEnvelope {
    let mut envelope = envelope.clone();
    envelope.command = Value::String(envelope.command.to_string());
    envelope.context.metadata = envelope
        .context
        .metadata
        .map(|metadata| Value::String(metadata.to_string()));
    envelope
}
