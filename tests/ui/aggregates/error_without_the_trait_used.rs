use std::error::Error;

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

#[derive(Debug)]
pub struct LampError;

#[aggregate]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp {
    on: bool,
}

impl Decider for Lamp {
    fn decide(&self, _command: LampCommand) -> Result<Vec<LampEvent>, LampError> {
        Ok(vec![LampEvent::Switched])
    }

    fn evolve(&mut self, _event: &LampEvent) {
        self.on = !self.on;
    }
}

async fn run(store: &AggregateStore) -> Result<(), Box<dyn Error>> {
    store.send("hall", LampCommand::Switch, ()).await?;
    let lamp = store.get::<Lamp>("hall").await?;
    lamp.execute(LampCommand::Switch, ()).await?;
    Ok(())
}

fn main() {}
