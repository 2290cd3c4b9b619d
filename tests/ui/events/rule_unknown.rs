use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data", rename_all = "title")]
pub enum OrderEvent {
    Placed { qty: u32 },
    Confirmed,
}

fn main() {}
