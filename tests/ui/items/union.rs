use eventfold_es::prelude::*;

#[projection(subscribes = [Order])]
union Sales {
    units: u64,
    orders: u64,
}

fn main() {}
