use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[domain_event(crate = eventfold_es, crate = eventfold_es)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { qty: u32 },
    Confirmed,
}

fn main() {}
