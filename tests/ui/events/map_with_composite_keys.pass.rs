use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed {
        lines: std::collections::BTreeMap<String, u32>,
    },
    Confirmed,
}

fn main() {}
