use eventfold_es::prelude::*;

#[event_store(aggregates = [eventfold_es_tests_domain::Order])]
struct Shop;

fn main() {
    let _ = Shop::open("shop");
}
