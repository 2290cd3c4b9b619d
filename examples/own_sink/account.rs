//! The accounts whose statements are written.

use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deposit {
    pub cents: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum AccountEvent {
    Deposited { cents: u64 },
}

#[aggregate(command = Deposit, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Account;

impl Decider for Account {
    fn decide(&self, deposit: Deposit) -> Result<Vec<AccountEvent>, Infallible> {
        let Deposit { cents } = deposit;
        Ok(vec![AccountEvent::Deposited { cents }])
    }

    fn evolve(&mut self, _: &AccountEvent) {}
}
