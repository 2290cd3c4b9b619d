use eventfold_es::prelude::*;

#[derive(Serialize, Deserialize, StoredShape)]
#[stored_shape(name = "line")]
struct Line {
    sku: String,
}

fn main() {
    let _ = Line::SHAPE;
}
