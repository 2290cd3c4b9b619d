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

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp {
    on: bool,
}

impl Aggregate for Lamp {
    const AGGREGATE_TYPE: &'static str = "lamp";
    type Command = LampCommand;
    type DomainEvent = LampEvent;
    type Error = Infallible;

    fn handle(&self, _command: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
        Ok(vec![LampEvent::Switched])
    }

    fn apply(mut self, _event: &LampEvent) -> Self {
        self.on = !self.on;
        self
    }
}

fn main() {}
