use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "kind", content = "payload")]
pub enum OrderEvent {
    Placed { qty: u32 },
    Confirmed,
}

fn main() {}
