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
pub struct Lamp {
    on: bool,
}

impl Decider for Lamp {
    fn decide(&self, _command: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
        Ok(vec![LampEvent::Switched])
    }

    fn evolve(&mut self, _event: &LampEvent) {
        self.on = !self.on;
    }
}

#[process_manager(subscribes = [Lamp], dispatches = [Lamp])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Lamp> for Saga {
    fn react(&mut self, _event: &LampEvent, cx: &mut Reaction<'_, Self>) {
        cx.send("kitchen", LampCommand::Switch);
    }
}

fn main() {}
