//! The aggregate and the projection that are measured.

use std::convert::Infallible;

use eventfold_es::prelude::*;

/// Fills the line of an [`CounterEvent::Added`] up to 200 bytes, like those of the raw appends.
pub(crate) const NOTE: &str =
    "Eight pallets went to the second warehouse, because the first one was full by Tuesday noon.";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum CounterCommand {
    Add { amount: u64, note: String },
}

impl CounterCommand {
    pub(crate) fn add_one() -> Self {
        Self::Add {
            amount: 1,
            note: NOTE.to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub(crate) enum CounterEvent {
    Added { amount: u64, note: String },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) sum: u64,
}

impl Decider for Counter {
    fn decide(&self, command: CounterCommand) -> Result<Vec<CounterEvent>, Infallible> {
        let CounterCommand::Add { amount, note } = command;
        match amount {
            0 => Ok(vec![]),
            _ => Ok(vec![CounterEvent::Added { amount, note }]),
        }
    }

    fn evolve(&mut self, event: &CounterEvent) {
        let CounterEvent::Added { amount, .. } = event;
        self.sum += amount;
    }
}

/// A trivial fold.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) events: u64,
    pub(crate) amount: u64,
}

impl Project<Counter> for Sums {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        let CounterEvent::Added { amount, .. } = event;
        self.events += 1;
        self.amount += amount;
    }
}
