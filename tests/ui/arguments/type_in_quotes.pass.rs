use std::convert::Infallible;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LampCommand {}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum LampEvent {}

#[aggregate(command = LampCommand, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp;

impl Decider for Lamp {
    fn decide(&self, command: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
        match command {}
    }

    fn evolve(&mut self, _event: &LampEvent) {}
}

fn main() {}
