//! Tallies, and a process manager that notes each addition in a ledger. Whatever is lost or done twice shows.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TallyCommand {
    Add { key: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum TallyEvent {
    Added { key: String },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub added: u64,
}

impl Decider for Tally {
    fn decide(&self, command: TallyCommand) -> Result<Vec<TallyEvent>, Infallible> {
        let TallyCommand::Add { key } = command;
        Ok(vec![TallyEvent::Added { key }])
    }

    fn evolve(&mut self, _event: &TallyEvent) {
        self.added += 1;
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LedgerCommand {
    Note { key: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum LedgerEvent {
    Noted { key: String },
}

/// It takes every note, so that a second reaction to an event is a second note.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub noted: u64,
}

impl Decider for Ledger {
    fn decide(&self, command: LedgerCommand) -> Result<Vec<LedgerEvent>, Infallible> {
        let LedgerCommand::Note { key } = command;
        Ok(vec![LedgerEvent::Noted { key }])
    }

    fn evolve(&mut self, _event: &LedgerEvent) {
        self.noted += 1;
    }
}

#[process_manager(subscribes = [Tally], dispatches = [Ledger])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Notary {
    pub seen: u64,
}

impl React<Tally> for Notary {
    fn react(&mut self, event: &TallyEvent, cx: &mut Reaction<'_, Self>) {
        let TallyEvent::Added { key } = event;
        self.seen += 1;
        let ledger = cx.stream_id().to_owned();
        cx.send(ledger, LedgerCommand::Note { key: key.clone() });
    }
}
