use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    #[domain_event(crate = ::eventfold_es)]
    Placed,
}

fn main() {}
