use std::collections::{BTreeMap, BTreeSet};

use eventfold_es::disk::Mark;
use serde::{Deserialize, Serialize};

/// What a workload notes while it runs: the label of a mark in a recording, a line in the pipe of a child process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A command is about to be executed.
    Tried {
        /// Its name.
        tag: u64,
        /// The ledger.
        id: String,
        /// How many events it has.
        parts: u32,
    },
    /// The command that is tried next has an idempotency key, which follows from its name.
    Keyed {
        /// Its name.
        tag: u64,
    },
    /// The commands that are tried next are one transaction, in this order; its idempotency key follows from the first.
    Together {
        /// Their names.
        tags: Vec<u64>,
    },
    /// What is tried next is no command but an event, which is injected with an id that follows from its name.
    Injected {
        /// Its name.
        tag: u64,
    },
    /// How a command with an idempotency key was answered.
    Answered {
        /// Its name.
        tag: u64,
        /// The version of its aggregate.
        version: u64,
        /// The position of its last event.
        position: Option<u64>,
    },
    /// It was acknowledged.
    Acknowledged {
        /// Its name.
        tag: u64,
    },
    /// This attempt was refused: nothing of it is stored.
    Refused {
        /// Its name.
        tag: u64,
    },
    /// All reactions to it were acknowledged.
    Reacted {
        /// Its name.
        tag: u64,
    },
    /// Its events were read back from an open store.
    Served {
        /// Its name.
        tag: u64,
    },
    /// An event handler has called the world outside.
    Called {
        /// The command of the entry.
        tag: u64,
        /// Its entry.
        part: u32,
        /// The idempotency key of the call.
        key: String,
    },
    /// A file that must stay as it is.
    Untouched {
        /// Its path in the store.
        name: String,
        /// What it holds.
        text: String,
    },
}

impl Note {
    /// As one line of text.
    #[must_use]
    pub fn label(&self) -> String {
        serde_json::to_string(self).expect("a note serializes")
    }
}

/// A command that was tried; without a chance it must not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriedCommand {
    /// The ledger.
    pub id: String,
    /// How many events it has.
    pub parts: u32,
    /// How often it was tried and not refused.
    pub chances: u32,
}

/// What must, may and must not be in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The commands that may be there.
    pub tried: BTreeMap<u64, TriedCommand>,
    /// Those that must be: acknowledged, or read back once.
    pub kept: BTreeSet<u64>,
    /// Those whose reactions must be there, too.
    pub reacted: BTreeSet<u64>,
    /// Those that were tried with an idempotency key.
    pub keyed: BTreeSet<u64>,
    /// Those that were tried together, which are there together or not at all.
    pub together: Vec<Vec<u64>>,
    /// Those that are events that were injected.
    pub injected: BTreeSet<u64>,
    /// The version and the position that commands with a key were answered with.
    pub answers: BTreeMap<u64, (u64, Option<u64>)>,
    /// The idempotency keys of the calls of an event handler, by command and entry.
    pub called: BTreeMap<(u64, u32), Vec<String>>,
    /// The files that must be as they were, by their paths in the store.
    pub untouched: BTreeMap<String, String>,
}

impl Expected {
    /// What follows from the marks of a recording.
    #[must_use]
    pub fn of(marks: &[Mark]) -> Self {
        let mut expected = Self::default();
        for mark in marks {
            expected.take_label(&mark.label);
        }
        expected
    }

    /// Takes the label of a note; others are ignored.
    pub fn take_label(&mut self, label: &str) {
        if let Ok(note) = serde_json::from_str(label) {
            self.take(note);
        }
    }

    /// Takes one note.
    pub fn take(&mut self, note: Note) {
        match note {
            Note::Tried { tag, id, parts } => {
                let tried = TriedCommand {
                    id,
                    parts,
                    chances: 0,
                };
                self.tried.entry(tag).or_insert(tried).chances += 1;
            }
            Note::Keyed { tag } => {
                self.keyed.insert(tag);
            }
            Note::Together { tags } => {
                self.together.push(tags);
            }
            Note::Injected { tag } => {
                self.injected.insert(tag);
            }
            Note::Answered {
                tag,
                version,
                position,
            } => {
                self.answers.insert(tag, (version, position));
            }
            Note::Acknowledged { tag } | Note::Served { tag } => {
                self.kept.insert(tag);
            }
            Note::Refused { tag } => {
                if let Some(tried) = self.tried.get_mut(&tag) {
                    tried.chances -= 1;
                }
            }
            Note::Reacted { tag } => {
                self.reacted.insert(tag);
            }
            Note::Called { tag, part, key } => {
                self.called.entry((tag, part)).or_default().push(key);
            }
            Note::Untouched { name, text } => {
                self.untouched.insert(name, text);
            }
        }
    }
}
