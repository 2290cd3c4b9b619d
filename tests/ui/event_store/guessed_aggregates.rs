use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_store(aggregate_types = [Order, Inventory])]
struct Shop;

fn main() {}
