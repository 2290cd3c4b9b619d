use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed {
        #[event(version = 1)]
        qty: u32,
    },
}

fn main() {}
