//! One part of a trip: a flight, a hotel or a charge. A handler carries its intentions out.

use eventfold_es::prelude::*;

/// The services, in the order in which a trip books them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    Flight,
    Hotel,
    Card,
}

impl Service {
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Flight => Some(Self::Hotel),
            Self::Hotel => Some(Self::Card),
            Self::Card => None,
        }
    }

    pub fn previous(self) -> Option<Self> {
        match self {
            Self::Flight => None,
            Self::Hotel => Some(Self::Flight),
            Self::Card => Some(Self::Hotel),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Flight => "flight",
            Self::Hotel => "hotel",
            Self::Card => "card",
        }
    }
}

/// The id of the reservation of a trip, such as `t-01-hotel`.
pub fn reservation_of(trip: &str, service: Service) -> String {
    format!("{trip}-{}", service.name())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ReservationCommand {
    Request {
        trip: String,
        service: Service,
        item: String,
    },
    NoteConfirmation,
    NoteRefusal {
        reason: String,
    },
    Cancel,
    NoteCancellation,
}

/// `Requested` and `CancelRequested` are intentions. The others are ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum ReservationEvent {
    Requested {
        trip: String,
        service: Service,
        item: String,
    },
    Confirmed {
        trip: String,
        service: Service,
    },
    Refused {
        trip: String,
        service: Service,
        reason: String,
    },
    CancelRequested {
        trip: String,
        service: Service,
    },
    Cancelled {
        trip: String,
        service: Service,
    },
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the reservation was never requested")]
pub struct NeverRequested;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    New,
    Requested,
    Confirmed,
    Refused,
    Cancelling,
    Cancelled,
}

#[aggregate(error = NeverRequested)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    pub phase: Phase,
    of: Option<(String, Service)>,
}

impl Decider for Reservation {
    fn decide(&self, command: ReservationCommand) -> Result<Vec<ReservationEvent>, NeverRequested> {
        let Some((trip, service)) = self.of.clone() else {
            return match command {
                ReservationCommand::Request {
                    trip,
                    service,
                    item,
                } => Ok(vec![ReservationEvent::Requested {
                    trip,
                    service,
                    item,
                }]),
                _ => Err(NeverRequested),
            };
        };
        Ok(match (command, self.phase) {
            (ReservationCommand::NoteConfirmation, Phase::Requested) => {
                vec![ReservationEvent::Confirmed { trip, service }]
            }
            (ReservationCommand::NoteRefusal { reason }, Phase::Requested) => {
                vec![ReservationEvent::Refused {
                    trip,
                    service,
                    reason,
                }]
            }
            (ReservationCommand::Cancel, Phase::Requested | Phase::Confirmed) => {
                vec![ReservationEvent::CancelRequested { trip, service }]
            }
            // Nothing outside has to be undone.
            (ReservationCommand::Cancel, Phase::Refused)
            | (ReservationCommand::NoteCancellation, Phase::Cancelling) => {
                vec![ReservationEvent::Cancelled { trip, service }]
            }
            // For example, a confirmation that is later than the request to cancel, which the service has still to carry out.
            _ => vec![],
        })
    }

    fn evolve(&mut self, event: &ReservationEvent) {
        self.phase = match event {
            ReservationEvent::Requested { trip, service, .. } => {
                self.of = Some((trip.clone(), *service));
                Phase::Requested
            }
            ReservationEvent::Confirmed { .. } => Phase::Confirmed,
            ReservationEvent::Refused { .. } => Phase::Refused,
            ReservationEvent::CancelRequested { .. } => Phase::Cancelling,
            ReservationEvent::Cancelled { .. } => Phase::Cancelled,
        };
    }
}
