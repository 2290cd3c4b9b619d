use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed {
        #[serde(rename = "quantity")]
        qty: u32,
        sku: String,
    },
    Confirmed,
}

fn main() {}
