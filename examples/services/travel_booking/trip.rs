//! Trips: what a traveler wants, and how it ended.

use std::convert::Infallible;

use eventfold_es::prelude::*;

/// The parts of a trip. `card` is the number of a card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub flight: String,
    pub hotel: String,
    pub card: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TripCommand {
    Request(Plan),
    Confirm,
    Cancel { reason: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum TripEvent {
    Requested(Plan),
    Confirmed,
    Cancelled { reason: String },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Trip {
    #[default]
    New,
    Requested,
    Confirmed,
    Cancelled(String),
}

impl Decider for Trip {
    fn decide(&self, command: TripCommand) -> Result<Vec<TripEvent>, Infallible> {
        Ok(match (self, command) {
            (Self::New, TripCommand::Request(plan)) => vec![TripEvent::Requested(plan)],
            (Self::Requested, TripCommand::Confirm) => vec![TripEvent::Confirmed],
            (Self::Requested, TripCommand::Cancel { reason }) => {
                vec![TripEvent::Cancelled { reason }]
            }
            _ => vec![],
        })
    }

    fn evolve(&mut self, event: &TripEvent) {
        *self = match event {
            TripEvent::Requested(_) => Self::Requested,
            TripEvent::Confirmed => Self::Confirmed,
            TripEvent::Cancelled { reason } => Self::Cancelled(reason.clone()),
        };
    }
}
