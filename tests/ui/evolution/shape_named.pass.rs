use eventfold_es::prelude::*;

#[derive(Serialize, Deserialize, StoredShape)]
struct Line {
    sku: String,
}

fn main() {
    let _ = Line::SHAPE;
}
