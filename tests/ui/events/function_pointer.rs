use eventfold_es::prelude::*;

#[derive(Debug, Clone, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { qty: fn() -> u32 },
    Confirmed,
}

fn main() {}
