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

#[derive(Debug, thiserror::Error)]
#[error("it is broken")]
pub struct LampError;

#[aggregate]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp<const BULBS: usize> {
    on: bool,
}

impl<const BULBS: usize> Decider for Lamp<BULBS> {
    fn decide(&self, _command: LampCommand) -> Result<Vec<LampEvent>, LampError> {
        Ok(vec![LampEvent::Switched])
    }

    fn evolve(&mut self, _event: &LampEvent) {
        self.on = !self.on;
    }
}

#[projection(subscribes = [Lamp])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Switches(u64);

impl Project<Lamp> for Switches {
    fn project(&mut self, _event: &LampEvent, _cx: &EventContext<'_>) {
        self.0 += 1;
    }
}

#[process_manager(subscribes = [Lamp], dispatches = [Lamp])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Echo;

impl React<Lamp> for Echo {
    fn react(&mut self, _event: &LampEvent, cx: &mut Reaction<'_, Self>) {
        cx.send("kitchen", LampCommand::Switch);
    }
}

#[event_store(aggregates = [Lamp], process_managers = [Echo], projections = [Switches])]
struct House;

async fn run(store: &AggregateStore) -> Result<(), Box<dyn Error>> {
    store.send("hall", LampCommand::Switch, ()).await?;
    let lamp = store.get::<Lamp>("hall").await?;
    lamp.execute(LampCommand::Switch, ()).await?;
    Ok(())
}

fn main() {}
