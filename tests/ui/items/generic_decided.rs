use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LampCommand {
    Switch,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum LampEvent {
    Switched,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp<T> {
    switched: u64,
    kind: T,
}

impl<T> Decider for Lamp<T> {
    fn decide(&self, _command: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
        Ok(vec![LampEvent::Switched])
    }

    fn evolve(&mut self, _event: &LampEvent) {
        self.switched += 1;
    }
}

fn main() {}
