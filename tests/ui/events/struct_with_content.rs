use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub struct OrderPlaced {
    qty: u32,
}

fn main() {}
