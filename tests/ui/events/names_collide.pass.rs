use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    #[serde(rename = "PlacedTwice")]
    PlacedV2 {
        qty: u32,
    },
    Placed,
}

fn main() {}
