//! Ledgers that take tagged entries, targets that process managers note them on, and an audit behind those.
//!
//! Each tag is used once, so that every effect of it can be counted.

use std::collections::BTreeMap;
use std::convert::Infallible;

use eventfold_es::prelude::*;

/// What can be asked of a [`Ledger`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LedgerCommand {
    /// Enters `parts` entries in one command, unless this was done before.
    Put {
        /// What it is called.
        tag: u64,
        /// How many entries.
        parts: u32,
    },
    /// Is rejected.
    Refuse,
}

/// What happened to a [`Ledger`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum LedgerEvent {
    /// One of the entries of a command.
    Entry {
        /// The command.
        tag: u64,
        /// Which of its entries, from 0.
        part: u32,
        /// How many the command has.
        of: u32,
        /// Something that is not one byte per character, and takes a sector.
        text: String,
    },
}

/// The event of the entry `part` of the `of` entries of a command.
#[must_use]
pub fn entry(tag: u64, part: u32, of: u32) -> LedgerEvent {
    LedgerEvent::Entry {
        tag,
        part,
        of,
        text: "é".repeat((tag as usize * 37 + part as usize * 101) % 240),
    }
}

/// The command was [`LedgerCommand::Refuse`].
#[derive(Debug, thiserror::Error)]
#[error("refused")]
pub struct Refused;

/// A list of entries.
#[aggregate(error = Refused)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The commands whose entries are all there, in order.
    pub tags: Vec<u64>,
    /// How many entries there are.
    pub entries: u64,
}

impl Decider for Ledger {
    fn decide(&self, command: LedgerCommand) -> Result<Vec<LedgerEvent>, Refused> {
        let LedgerCommand::Put { tag, parts } = command else {
            return Err(Refused);
        };
        if self.tags.contains(&tag) {
            return Ok(Vec::new());
        }
        Ok((0..parts).map(|part| entry(tag, part, parts)).collect())
    }

    fn evolve(&mut self, event: &LedgerEvent) {
        let LedgerEvent::Entry { tag, part, of, .. } = event;
        self.entries += 1;
        if part + 1 == *of {
            self.tags.push(*tag);
        }
    }
}

/// The slot of a note that a [`Target`] rejects.
pub const REJECTED: u8 = 9;

/// The slot of a note that a [`Target`] rejects until it is opened.
pub const LOCKED: u8 = 8;

/// What can be asked of a [`Target`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TargetCommand {
    /// From now on it takes what it has rejected before.
    Open,
    /// Notes an entry of a ledger.
    Note {
        /// The command of the entry.
        tag: u64,
        /// Which of its entries.
        part: u32,
        /// Which of the notes on this entry.
        slot: u8,
    },
}

/// What happened to a [`Target`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum TargetEvent {
    /// It was opened.
    Opened,
    /// An entry was noted.
    Noted {
        /// The command of the entry.
        tag: u64,
        /// Which of its entries.
        part: u32,
        /// Which of the notes on this entry.
        slot: u8,
    },
}

/// Where [`Fanout`] notes entries.
#[aggregate(error = Refused)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// How many notes there are.
    pub notes: u64,
    /// Whether it was opened.
    pub is_open: bool,
}

impl Decider for Target {
    fn decide(&self, command: TargetCommand) -> Result<Vec<TargetEvent>, Refused> {
        match command {
            TargetCommand::Open if self.is_open => Ok(Vec::new()),
            TargetCommand::Open => Ok(vec![TargetEvent::Opened]),
            TargetCommand::Note { slot: REJECTED, .. } => Err(Refused),
            TargetCommand::Note { slot: LOCKED, .. } if !self.is_open => Err(Refused),
            TargetCommand::Note { tag, part, slot } => {
                Ok(vec![TargetEvent::Noted { tag, part, slot }])
            }
        }
    }

    fn evolve(&mut self, event: &TargetEvent) {
        match event {
            TargetEvent::Opened => self.is_open = true,
            TargetEvent::Noted { .. } => self.notes += 1,
        }
    }
}

/// What can be asked of a [`Journalist`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum JournalistCommand {
    /// Records a note of a target.
    Record {
        /// The command of the entry.
        tag: u64,
        /// Which of its entries.
        part: u32,
    },
}

/// What happened to a [`Journalist`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum JournalistEvent {
    /// A note of a target was recorded.
    Recorded {
        /// The command of the entry.
        tag: u64,
        /// Which of its entries.
        part: u32,
    },
}

/// The end of the chain.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Journalist {
    /// How many records there are.
    pub records: u64,
}

impl Decider for Journalist {
    fn decide(&self, command: JournalistCommand) -> Result<Vec<JournalistEvent>, Infallible> {
        let JournalistCommand::Record { tag, part } = command;
        Ok(vec![JournalistEvent::Recorded { tag, part }])
    }

    fn evolve(&mut self, _event: &JournalistEvent) {
        self.records += 1;
    }
}

/// Whether [`Fanout`] sends anything for entries of this command.
#[must_use]
pub fn is_fanned_out(tag: u64) -> bool {
    tag.is_multiple_of(2)
}

/// The target that gets the first note on an entry.
#[must_use]
pub fn first_target(tag: u64) -> String {
    format!("t-{}", tag % 7)
}

/// The target that gets two notes on each entry.
#[must_use]
pub fn second_target(tag: u64) -> String {
    format!("t-both-{}", tag % 5)
}

/// The instance that records the notes.
pub const DESK: &str = "desk";

/// Sends, for each entry of an even command, four commands to two targets; the last is rejected.
#[process_manager(subscribes = [Ledger], dispatches = [Target])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Fanout {
    /// How many entries it has reacted to.
    pub seen: u64,
}

impl React<Ledger> for Fanout {
    fn react(&mut self, event: &LedgerEvent, cx: &mut Reaction<'_, Self>) {
        let LedgerEvent::Entry { tag, part, .. } = event;
        self.seen += 1;
        if !is_fanned_out(*tag) {
            return;
        }
        let note = |slot| TargetCommand::Note {
            tag: *tag,
            part: *part,
            slot,
        };
        cx.send(first_target(*tag), note(0));
        cx.send(second_target(*tag), note(1));
        cx.send(second_target(*tag), note(2));
        cx.send(first_target(*tag), note(REJECTED));
    }
}

/// Records the second note on each entry: the second link of a chain.
#[process_manager(subscribes = [Target], dispatches = [Journalist])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Chain {
    /// How many notes it has reacted to.
    pub seen: u64,
}

impl React<Target> for Chain {
    fn react(&mut self, event: &TargetEvent, cx: &mut Reaction<'_, Self>) {
        let TargetEvent::Noted { tag, part, slot } = event else {
            return;
        };
        self.seen += 1;
        if *slot == 1 {
            cx.send(
                DESK,
                JournalistCommand::Record {
                    tag: *tag,
                    part: *part,
                },
            );
        }
    }
}

/// The rows with the numbers of [`Tally`]: one for each stream, and one for all.
#[projection(subscribes = [Ledger, Target], key = String)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TallyRow {
    /// The events of the stream, or all.
    #[index]
    pub events: u64,
    /// The whole of [`Tally`], in the row of all.
    pub tally: Tally,
}

/// The key of the row of all streams.
pub const ALL: &str = "all";

impl TallyRow {
    fn keys(cx: &EventContext<'_>) -> Keys<String> {
        let stream = format!("{}/{}", cx.aggregate_type(), cx.stream_id());
        Keys::each([stream, ALL.to_owned()])
    }
}

impl Locate<Ledger> for TallyRow {
    fn locate(_event: &LedgerEvent, cx: &EventContext<'_>) -> Keys<String> {
        Self::keys(cx)
    }
}

impl Locate<Target> for TallyRow {
    fn locate(event: &TargetEvent, cx: &EventContext<'_>) -> Keys<String> {
        match event {
            TargetEvent::Noted { .. } => Self::keys(cx),
            _ => Keys::none(),
        }
    }
}

impl Project<Ledger> for TallyRow {
    fn project(&mut self, event: &LedgerEvent, cx: &EventContext<'_>) {
        self.events += 1;
        Project::<Ledger>::project(&mut self.tally, event, cx);
    }
}

impl Project<Target> for TallyRow {
    fn project(&mut self, event: &TargetEvent, cx: &EventContext<'_>) {
        self.events += 1;
        Project::<Target>::project(&mut self.tally, event, cx);
    }
}

/// Everything that happened to ledgers and targets, so that the order matters.
#[projection(subscribes = [Ledger, Target])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The events of each stream.
    pub counts: BTreeMap<String, u64>,
    /// A hash over all events in their order.
    pub order: u64,
}

impl Tally {
    /// Takes one event.
    pub fn take(&mut self, aggregate_type: &str, id: &str, tag: u64, part: u32) {
        let count = self
            .counts
            .entry(format!("{aggregate_type}/{id}"))
            .or_default();
        *count += 1;
        self.order = self
            .order
            .wrapping_mul(31)
            .wrapping_add(tag * 100 + u64::from(part) + *count);
    }
}

impl Project<Ledger> for Tally {
    fn project(&mut self, event: &LedgerEvent, cx: &EventContext<'_>) {
        let LedgerEvent::Entry { tag, part, .. } = event;
        self.take(cx.aggregate_type(), cx.stream_id(), *tag, *part);
    }
}

impl Project<Target> for Tally {
    fn project(&mut self, event: &TargetEvent, cx: &EventContext<'_>) {
        let TargetEvent::Noted { tag, part, .. } = event else {
            return;
        };
        self.take(cx.aggregate_type(), cx.stream_id(), *tag, *part);
    }
}
