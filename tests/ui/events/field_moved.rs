use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed(#[serde(default, skip_serializing_if = "Vec::is_empty")] Vec<u32>, u32),
    Confirmed,
}

fn main() {}
