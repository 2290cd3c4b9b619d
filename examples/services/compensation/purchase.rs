//! Purchases of tickets, and the steps that reach the world outside.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PurchaseCommand {
    Start { card: String },
    Confirm,
    Cancel { reason: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PurchaseEvent {
    Started { card: String },
    Confirmed,
    Cancelled { reason: String },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Purchase {
    #[default]
    Open,
    Confirmed,
    Cancelled(String),
}

impl Decider for Purchase {
    fn decide(&self, command: PurchaseCommand) -> Result<Vec<PurchaseEvent>, Infallible> {
        Ok(vec![match command {
            PurchaseCommand::Start { card } => PurchaseEvent::Started { card },
            PurchaseCommand::Confirm => PurchaseEvent::Confirmed,
            PurchaseCommand::Cancel { reason } => PurchaseEvent::Cancelled { reason },
        }])
    }

    fn evolve(&mut self, event: &PurchaseEvent) {
        match event {
            PurchaseEvent::Started { .. } => {}
            PurchaseEvent::Confirmed => *self = Self::Confirmed,
            PurchaseEvent::Cancelled { reason } => *self = Self::Cancelled(reason.clone()),
        }
    }
}

/// The thing outside that a step takes, and gives back when it is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Thing {
    Seat,
    Charge,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StepCommand {
    Take {
        thing: Thing,
        purchase: String,
        card: String,
    },
    NoteTaken,
    NoteRefused {
        reason: String,
    },
    Undo,
    NoteUndone,
}

/// `Started` and `UndoStarted` are intentions, which a handler carries out. The others are its results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum StepEvent {
    Started {
        thing: Thing,
        purchase: String,
        card: String,
    },
    Taken {
        thing: Thing,
        purchase: String,
    },
    Refused {
        purchase: String,
        reason: String,
    },
    UndoStarted {
        thing: Thing,
        purchase: String,
    },
    Undone {
        purchase: String,
    },
}

/// One step of a purchase, such as `buy-1-seat`.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Step(Option<(Thing, String)>);

impl Decider for Step {
    fn decide(&self, command: StepCommand) -> Result<Vec<StepEvent>, Infallible> {
        let event = match (command, self.0.clone()) {
            (
                StepCommand::Take {
                    thing,
                    purchase,
                    card,
                },
                None,
            ) => StepEvent::Started {
                thing,
                purchase,
                card,
            },
            // It has started already, or has not.
            (StepCommand::Take { .. }, Some(_)) | (_, None) => return Ok(vec![]),
            (StepCommand::NoteTaken, Some((thing, purchase))) => {
                StepEvent::Taken { thing, purchase }
            }
            (StepCommand::NoteRefused { reason }, Some((_, purchase))) => {
                StepEvent::Refused { purchase, reason }
            }
            (StepCommand::Undo, Some((thing, purchase))) => {
                StepEvent::UndoStarted { thing, purchase }
            }
            (StepCommand::NoteUndone, Some((_, purchase))) => StepEvent::Undone { purchase },
        };
        Ok(vec![event])
    }

    fn evolve(&mut self, event: &StepEvent) {
        if let StepEvent::Started {
            thing, purchase, ..
        } = event
        {
            self.0 = Some((*thing, purchase.clone()));
        }
    }
}
