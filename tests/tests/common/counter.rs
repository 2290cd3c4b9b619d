//! An aggregate with one command for everything that can happen to a command.

use eventfold_es::prelude::*;
use serde_json::Value;

/// What can be asked of a [`Counter`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum CounterCommand {
    /// Adds once.
    Add(i64),
    /// Adds one, several times, in one command.
    AddOnes(u32),
    /// Causes nothing.
    Nothing,
    /// Is rejected with the sum that it was decided on.
    Reject,
    /// Panics while it is decided.
    PanicInDecide,
    /// Adds, then panics while its second event is folded.
    PanicInEvolve,
    /// Adds, then stores a number.
    Measure(f64),
    /// Adds, then stores lists in lists.
    Nest(usize),
    /// Adds, then stores an event of which a part is left out.
    Forget,
}

/// What happened to a [`Counter`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum CounterEvent {
    /// The sum grew.
    Added(i64),
    /// Cannot be folded.
    Unfoldable,
    /// A number.
    Measured(f64),
    /// Lists in lists.
    Nested(Value),
    /// Does not read back.
    Forgotten(Forgetful),
}

/// A field is written by nobody and needed by the reader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forgetful {
    /// Left out.
    #[serde(skip_serializing)]
    pub needed: u32,
}

/// Why a [`Counter`] rejects a command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CounterError {
    /// It was asked to.
    #[error("rejected at the sum {sum}")]
    Rejected {
        /// The sum it was decided on.
        sum: i64,
    },
}

/// A sum, and the number of things that were folded.
#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    /// The sum.
    pub sum: i64,
    /// How many events were folded.
    pub folded: u64,
}

impl Decider for Counter {
    fn decide(&self, command: CounterCommand) -> Result<Vec<CounterEvent>, CounterError> {
        let and_then = |event| vec![CounterEvent::Added(1), event];
        Ok(match command {
            CounterCommand::Add(by) => vec![CounterEvent::Added(by)],
            CounterCommand::AddOnes(count) => (0..count).map(|_| CounterEvent::Added(1)).collect(),
            CounterCommand::Nothing => Vec::new(),
            CounterCommand::Reject => return Err(CounterError::Rejected { sum: self.sum }),
            CounterCommand::PanicInDecide => panic!("no idea"),
            CounterCommand::PanicInEvolve => and_then(CounterEvent::Unfoldable),
            CounterCommand::Measure(value) => and_then(CounterEvent::Measured(value)),
            CounterCommand::Nest(depth) => {
                let nested = (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
                and_then(CounterEvent::Nested(nested))
            }
            CounterCommand::Forget => and_then(CounterEvent::Forgotten(Forgetful { needed: 7 })),
        })
    }

    fn evolve(&mut self, event: &CounterEvent) {
        self.folded += 1;
        match event {
            CounterEvent::Added(by) => self.sum += by,
            CounterEvent::Unfoldable => panic!("cannot be folded"),
            CounterEvent::Measured(_) | CounterEvent::Nested(_) | CounterEvent::Forgotten(_) => {}
        }
    }
}
