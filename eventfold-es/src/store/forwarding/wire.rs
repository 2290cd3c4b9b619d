//! The texts of questions and answers between nodes. Both are JSON with the number of their format.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::command::CommandContext;
use crate::error::{ExecuteError, StoreError, TransactionError};
use crate::replication::Node;
use crate::runtime::{Kept, NotTaken, Reactions};

/// The number of this format.
pub(super) const FORMAT: u32 = 1;

/// One command, or the commands of one transaction.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked<'a> {
    pub(super) format: u32,
    /// The errand, and the number of this attempt of it, from 1.
    #[serde(borrow)]
    pub(super) errand: Cow<'a, str>,
    pub(super) attempt: u32,
    /// The last batch that the asking node has. A leader whose claim comes after it does not take the question.
    pub(super) batch: u64,
    /// Whether the commands are one transaction.
    pub(super) is_together: bool,
    /// The context of all commands, without an expected version.
    pub(super) context: Cow<'a, CommandContext>,
    #[serde(borrow)]
    pub(super) commands: Vec<AskedCommand<'a>>,
}

/// A command with its address.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct AskedCommand<'a> {
    #[serde(borrow, rename = "type")]
    pub(in crate::store) aggregate_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::store) id: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) expected_version: Option<u64>,
    #[serde(borrow)]
    pub(in crate::store) command: &'a RawValue,
}

/// The answer to a question.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) format: u32,
    /// The last position that the answering node had. The asking node waits for it.
    pub(super) seen: u64,
    pub(super) told: Told,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::store) enum Told {
    /// Each command is stored, or had nothing to do.
    Executed {
        commands: Vec<Part>,
        #[serde(with = "ReactionsText")]
        reactions: Reactions,
    },
    /// The aggregate rejects the command. Its error has no JSON: the asking node decides the command itself, and gets the same error.
    Rejected,
    Conflict {
        /// The command of the transaction.
        index: usize,
        expected: u64,
        actual: u64,
    },
    KeyReused {
        key: String,
    },
    Panicked {
        what: String,
        message: String,
    },
    /// Another error by which nothing is stored.
    Refused {
        reason: String,
    },
    /// Whether it is stored is unknown.
    Unknown {
        reason: String,
    },
    /// The node is not the leader, and has decided nothing.
    NotLeader {
        leader: Option<NodeText>,
    },
    /// Nothing is stored. A later attempt may succeed.
    Unavailable {
        reason: String,
    },
    /// The program of the node cannot read the question. Nothing is stored.
    Foreign {
        reason: String,
    },
}

/// The result of one command.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::store) struct Part {
    /// The version of its stream. A command of a transaction without events has none.
    pub(in crate::store) version: Option<u64>,
    /// The position of its last event, if it has events.
    pub(in crate::store) position: Option<u64>,
    /// The number of its events. Without meaning in a transaction.
    pub(in crate::store) events: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct NodeText {
    name: String,
    address: Option<String>,
}

impl From<Node> for NodeText {
    fn from(Node { name, address }: Node) -> Self {
        Self { name, address }
    }
}

impl From<NodeText> for Node {
    fn from(NodeText { name, address }: NodeText) -> Self {
        Self { name, address }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Reactions", rename_all = "snake_case")]
enum ReactionsText {
    NotAwaited,
    Done,
    Retrying,
    Parked,
    Paused,
    Stopped,
    TimedOut,
    Closed,
}

impl Asked<'_> {
    pub(super) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

impl Answer {
    pub(super) fn text(self, most: usize) -> String {
        let text = serde_json::to_string(&self).unwrap_or_default();
        if text.len() <= most {
            return text;
        }
        // Only the text of an error is so long.
        let reason = format!("the reason has {} bytes, which is too long", text.len());
        let told = match self.told {
            Told::Unknown { .. } => Told::Unknown { reason },
            _ => Told::Refused { reason },
        };
        let short = Self { told, ..self };
        serde_json::to_string(&short).unwrap_or_default()
    }

    pub(super) fn read(text: &str) -> Result<Self, String> {
        let answer: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match answer.format {
            FORMAT => Ok(answer),
            other => Err(format!("it has the format {other}, and not {FORMAT}")),
        }
    }
}

impl From<NotTaken> for Told {
    fn from(reason: NotTaken) -> Self {
        match reason {
            NotTaken::Behind => Self::Unavailable {
                reason:
                    "the node that forwards the command does not have the claim of the leader yet"
                        .to_owned(),
            },
            NotTaken::Store(error) => error.into(),
        }
    }
}

impl<E> From<ExecuteError<E>> for Told {
    fn from(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Domain(error) => {
                drop(Kept::new(error));
                Self::Rejected
            }
            ExecuteError::Conflict { expected, actual } => Self::Conflict {
                index: 0,
                expected,
                actual,
            },
            ExecuteError::KeyReused { key } => Self::KeyReused { key },
            ExecuteError::OutcomeUnknown { reason } => StoreError::OutcomeUnknown { reason }.into(),
            ExecuteError::NotLeader { leader } => StoreError::NotLeader { leader }.into(),
            ExecuteError::Unavailable { reason } => StoreError::Unavailable { reason }.into(),
            ExecuteError::Store(error) => error.into(),
        }
    }
}

impl From<TransactionError> for Told {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Rejected { .. } => Self::Rejected,
            TransactionError::Conflict {
                at,
                expected,
                actual,
            } => Self::Conflict {
                index: at.index,
                expected,
                actual,
            },
            TransactionError::KeyReused { key } => Self::KeyReused { key },
            TransactionError::OutcomeUnknown { reason } => {
                StoreError::OutcomeUnknown { reason }.into()
            }
            TransactionError::NotLeader { leader } => StoreError::NotLeader { leader }.into(),
            TransactionError::Unavailable { reason } => StoreError::Unavailable { reason }.into(),
            TransactionError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Told {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { expected, actual } => Self::Conflict {
                index: 0,
                expected,
                actual,
            },
            StoreError::KeyReused { key } => Self::KeyReused { key },
            StoreError::Panicked { what, message } => Self::Panicked { what, message },
            // Deciding the command again gives the same error, typed.
            StoreError::Unstorable(_) => Self::Rejected,
            StoreError::OutcomeUnknown { reason } => Self::Unknown {
                reason: reason.to_string(),
            },
            StoreError::NotLeader { leader } => Self::NotLeader {
                leader: leader.map(NodeText::from),
            },
            StoreError::Unavailable { reason } => Self::Unavailable {
                reason: reason.to_string(),
            },
            // Another node takes over.
            error
            @ (StoreError::Closed | StoreError::RuntimeGone | StoreError::Poisoned { .. }) => {
                Self::Unavailable {
                    reason: error.to_string(),
                }
            }
            StoreError::Refused { reason } => Self::Refused {
                reason: reason.to_string(),
            },
            error => Self::Refused {
                reason: format!("the leader says: {}", error),
            },
        }
    }
}

impl Told {
    /// The error by which nothing is stored, for an answer that is neither a success nor a rejection.
    pub(in crate::store) fn into_error(self) -> StoreError {
        let reason = |reason: String| Arc::<str>::from(reason);
        match self {
            Self::Conflict {
                expected, actual, ..
            } => StoreError::Conflict { expected, actual },
            Self::KeyReused { key } => StoreError::KeyReused { key },
            Self::Panicked { what, message } => StoreError::Panicked { what, message },
            Self::Refused { reason: text } => StoreError::Refused {
                reason: reason(text),
            },
            Self::Unknown { reason: text } => StoreError::OutcomeUnknown {
                reason: reason(text),
            },
            Self::NotLeader { leader } => StoreError::NotLeader {
                leader: leader.map(Node::from),
            },
            Self::Unavailable { reason: text } | Self::Foreign { reason: text } => {
                StoreError::Unavailable {
                    reason: reason(text),
                }
            }
            Self::Rejected | Self::Executed { .. } => StoreError::Unavailable {
                reason: reason(DISAGREE.to_owned()),
            },
        }
    }
}

/// The reason for giving up a command that the leader rejects and this node does not.
pub(super) const DISAGREE: &str =
    "the leader rejects the command, and this node accepts it: they decide in different ways";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn read(told: Told) -> Told {
        let answer = Answer {
            format: FORMAT,
            seen: 7,
            told,
        };
        Answer::read(&answer.text(10_000)).unwrap().told
    }

    #[test]
    fn a_question_is_read_as_it_was_asked() {
        let context = CommandContext::default()
            .with_actor("a \"person\"")
            .with_metadata(serde_json::json!({ "n": 0.1 }))
            .with_idempotency_key("k");
        let command = RawValue::from_string(r#"{"Add":1.10}"#.to_owned()).unwrap();
        let asked = Asked {
            format: FORMAT,
            errand: "e".into(),
            attempt: 2,
            batch: 3,
            is_together: true,
            context: Cow::Borrowed(&context),
            commands: vec![AskedCommand {
                aggregate_type: "counter".into(),
                id: "ä\"b".into(),
                expected_version: Some(4),
                command: &command,
            }],
        };
        let text = asked.text().unwrap();
        let read: Asked<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(*read.context, context);
        assert_eq!((read.attempt, read.batch, read.is_together), (2, 3, true));
        let command = read.commands.first().unwrap();
        assert_eq!(command.id, "ä\"b");
        assert_eq!(command.expected_version, Some(4));
        assert_eq!(command.command.get(), r#"{"Add":1.10}"#);
    }

    #[test]
    fn errors_of_the_leader_are_those_of_the_follower() {
        let errors = [
            StoreError::Conflict {
                expected: 1,
                actual: 2,
            },
            StoreError::KeyReused {
                key: "k".to_owned(),
            },
            StoreError::Panicked {
                what: "it".to_owned(),
                message: "no idea".to_owned(),
            },
            StoreError::Refused {
                reason: "too large".into(),
            },
            StoreError::OutcomeUnknown {
                reason: "silence".into(),
            },
            StoreError::NotLeader {
                leader: Some(Node::new("two", Some("http://two"))),
            },
            StoreError::Unavailable {
                reason: "no leader".into(),
            },
        ];
        for error in errors {
            let text = error.to_string();
            assert_eq!(read(error.into()).into_error().to_string(), text);
        }
        let closed = read(StoreError::Closed.into()).into_error();
        assert!(matches!(closed, StoreError::Unavailable { .. }), "{closed}");
        let other = StoreError::UnknownStream {
            aggregate_type: "a".to_owned(),
            instance_id: "b".to_owned(),
        };
        let refused = read(other.into()).into_error();
        assert_eq!(
            refused.to_string(),
            "nothing was stored: the leader says: there is no stream `b` of `a`"
        );
    }

    #[test]
    fn an_answer_is_never_larger_than_a_message() {
        for told in [
            Told::Refused {
                reason: "x".repeat(1_000),
            },
            Told::Unknown {
                reason: "x".repeat(1_000),
            },
        ] {
            let is_unknown = matches!(told, Told::Unknown { .. });
            let answer = Answer {
                format: FORMAT,
                seen: 0,
                told,
            };
            let text = answer.text(300);
            assert!(text.len() <= 300);
            let told = Answer::read(&text).unwrap().told;
            assert_eq!(matches!(told, Told::Unknown { .. }), is_unknown);
        }
    }

    #[test]
    fn an_answer_of_another_format_is_not_read() {
        let answer = Answer {
            format: FORMAT + 1,
            seen: 0,
            told: Told::Rejected,
        };
        assert!(Answer::read(&answer.text(1_000)).is_err());
        assert!(Answer::read(r#"{"format":1,"seen":0,"told":"something_new"}"#).is_err());
    }
}
