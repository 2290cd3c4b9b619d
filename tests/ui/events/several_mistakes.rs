use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "kind", content = "data")]
pub enum OrderEvent {
    Placed { #[serde(skip)] qty: u32 },
    #[serde(rename = "Placed")]
    Confirmed,
}

fn main() {}
