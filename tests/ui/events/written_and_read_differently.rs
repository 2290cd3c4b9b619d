use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    #[serde(rename(serialize = "placed"))]
    Placed { qty: u32 },
}

fn main() {}
