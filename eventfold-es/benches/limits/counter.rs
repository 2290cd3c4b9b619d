//! The aggregate and the projection that are measured.

use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es::{ProjectError, RecordedEvent};
use serde_json::Value;

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

/// The trivial fold, the same for a projection and for the bare loop that it is compared with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) events: u64,
    pub(crate) amount: u64,
}

impl Sums {
    pub(crate) fn fold(&mut self, event: &eventfold::Event) {
        self.events += 1;
        let amount = event.data.get("amount").and_then(Value::as_u64);
        self.amount += amount.unwrap_or_default();
    }
}

impl Projection for Sums {
    const NAME: &'static str = "sums";

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn apply(&mut self, _: &str, _: &str, event: &RecordedEvent) -> Result<(), ProjectError> {
        self.fold(event);
        Ok(())
    }
}
