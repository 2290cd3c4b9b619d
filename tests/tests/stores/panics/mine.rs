//! An aggregate in which everything may panic.

use eventfold_es::prelude::*;

use crate::panics::bomb::{Bomb, touch};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MineCommand {
    /// Stores an event that holds the first, and puts the second into the state.
    Lay { event: Bomb, state: String },
    /// Is decided, and stores an event that holds nothing.
    Walk(Bomb),
    /// Is rejected with an error that holds this.
    Step(Bomb),
}

impl MineCommand {
    pub fn lay(event: &str, state: &str) -> Self {
        Self::Lay {
            event: Bomb::new(event),
            state: state.to_owned(),
        }
    }

    pub fn walk(tag: &str) -> Self {
        Self::Walk(Bomb::new(tag))
    }

    pub fn step(tag: &str) -> Self {
        Self::Step(Bomb::new(tag))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum MineEvent {
    Laid { event: Bomb, state: String },
    Walked,
}

#[derive(Debug, thiserror::Error)]
#[error("stepped on {0}")]
pub struct Stepped(pub Bomb);

#[aggregate(error = Stepped)]
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mine {
    pub seen: u64,
    bombs: Vec<Bomb>,
}

impl Decider for Mine {
    fn decide(&self, command: MineCommand) -> Result<Vec<MineEvent>, Stepped> {
        match command {
            MineCommand::Lay { event, state } => Ok(vec![MineEvent::Laid { event, state }]),
            MineCommand::Walk(bomb) => {
                touch(&bomb.0, "decide");
                Ok(vec![MineEvent::Walked])
            }
            MineCommand::Step(bomb) => Err(Stepped(bomb)),
        }
    }

    fn evolve(&mut self, event: &MineEvent) {
        self.seen += 1;
        if let MineEvent::Laid { state, .. } = event {
            touch(state, "evolve");
            self.bombs.push(Bomb::new(state));
        }
    }
}
