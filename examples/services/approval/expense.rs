//! Expenses, which a person approves or refuses.

use eventfold_es::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ExpenseCommand {
    Submit { cents: u64, approver: String },
    Approve,
    Refuse { reason: String },
    Remind,
    Expire,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum ExpenseEvent {
    Submitted { cents: u64, approver: String },
    Approved,
    Refused { reason: String },
    Reminded { approver: String },
    Expired,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ExpenseError {
    #[error("the expense exists already")]
    Exists,
    #[error("the expense does not exist")]
    Unknown,
    #[error("the expense is decided already: {0:?}")]
    Decided(Decision),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    Approved,
    Refused,
    Expired,
}

/// An expense and its decision.
#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Expense {
    #[default]
    New,
    Waiting {
        approver: String,
    },
    Decided(Decision),
}

impl Decider for Expense {
    fn decide(&self, command: ExpenseCommand) -> Result<Vec<ExpenseEvent>, ExpenseError> {
        let event = match (self, command) {
            (Self::New, ExpenseCommand::Submit { cents, approver }) => {
                ExpenseEvent::Submitted { cents, approver }
            }
            (Self::New, _) => return Err(ExpenseError::Unknown),
            (_, ExpenseCommand::Submit { .. }) => return Err(ExpenseError::Exists),
            // The process manager sends these. A decision may be faster, and they are not needed then.
            (Self::Decided(_), ExpenseCommand::Remind | ExpenseCommand::Expire) => {
                return Ok(vec![]);
            }
            (Self::Decided(decision), _) => return Err(ExpenseError::Decided(*decision)),
            (Self::Waiting { .. }, ExpenseCommand::Approve) => ExpenseEvent::Approved,
            (Self::Waiting { .. }, ExpenseCommand::Refuse { reason }) => {
                ExpenseEvent::Refused { reason }
            }
            (Self::Waiting { approver }, ExpenseCommand::Remind) => ExpenseEvent::Reminded {
                approver: approver.clone(),
            },
            (Self::Waiting { .. }, ExpenseCommand::Expire) => ExpenseEvent::Expired,
        };
        Ok(vec![event])
    }

    fn evolve(&mut self, event: &ExpenseEvent) {
        *self = match event {
            ExpenseEvent::Submitted { approver, .. } | ExpenseEvent::Reminded { approver } => {
                Self::Waiting {
                    approver: approver.clone(),
                }
            }
            ExpenseEvent::Approved => Self::Decided(Decision::Approved),
            ExpenseEvent::Refused { .. } => Self::Decided(Decision::Refused),
            ExpenseEvent::Expired => Self::Decided(Decision::Expired),
        };
    }
}
