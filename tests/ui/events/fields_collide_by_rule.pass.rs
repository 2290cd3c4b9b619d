use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data", rename_all_fields = "camelCase")]
pub enum OrderEvent {
    Placed {
        unit_price: u32,
        #[serde(rename = "price")]
        price: u32,
    },
    Confirmed,
}

fn main() {}
