use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed {
        #[serde(renam = "quantity")]
        qty: u32,
        sku: String,
    },
    Confirmed,
}

fn main() {}
