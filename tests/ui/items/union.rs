use eventfold_es::prelude::*;
use eventfold_es_tests::domain::*;

#[projection(subscribes = [Order])]
union Sales {
    units: u64,
    orders: u64,
}

fn main() {}
