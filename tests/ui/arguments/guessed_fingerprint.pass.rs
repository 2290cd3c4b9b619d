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

#[aggregate(error = Infallible, fingerprint = intent)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp {
    on: bool,
}

fn intent(_command: &LampCommand) -> impl Serialize {
    "switch"
}

impl Decider for Lamp {
    fn decide(&self, _command: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
        Ok(vec![LampEvent::Switched])
    }

    fn evolve(&mut self, _event: &LampEvent) {
        self.on = !self.on;
    }
}

fn main() {}
