use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_store(aggregates = [Order, Inventory])]
struct Shop;

fn main() {}
