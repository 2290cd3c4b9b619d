use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed {
        qty: u32,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
    },
}

fn main() {}
