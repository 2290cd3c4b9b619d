use eventfold_es::prelude::*;
use eventfold_es::schema::{NamedType, Shape};

#[derive(Serialize, Deserialize, StoredShape)]
struct Line {
    sku: String,
}

fn shape_of<T: StoredShape>() -> NamedType {
    NamedType::new("Line", Some(|| -> Shape { T::SHAPE }))
}

fn main() {
    let _ = shape_of::<Line>();
}
