use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
#[domain_event(crate = eventfold_es)]
pub enum OrderEvent {
    Placed { qty: u32 },
    Confirmed,
}

fn main() {}
