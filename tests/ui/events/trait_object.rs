use eventfold_es::prelude::*;

#[derive(Clone, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { qty: std::sync::Arc<dyn std::any::Any + Send + Sync> },
    Confirmed,
}

fn main() {}
