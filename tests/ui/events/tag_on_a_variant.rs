use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
pub enum OrderEvent {
    #[serde(tag = "type", content = "data")]
    Placed { qty: u32 },
    Confirmed,
}

fn main() {}
