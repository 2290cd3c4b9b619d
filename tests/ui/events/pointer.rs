use eventfold_es::prelude::*;

#[derive(Debug, Clone, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { qty: *const u32 },
    Confirmed,
}

fn main() {}
