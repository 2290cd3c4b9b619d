use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent<'a> {
    Placed { sku: &'a str },
    Confirmed,
}

fn main() {}
