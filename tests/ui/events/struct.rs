use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
pub struct OrderPlaced {
    qty: u32,
}

fn main() {}
