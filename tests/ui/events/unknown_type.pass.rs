use eventfold_es::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum OrderEvent {
    Placed { lines: Vec<Line> },
}

#[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
struct Line {
    sku: String,
}

fn main() {}
