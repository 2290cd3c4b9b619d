use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_store = "shop"]
struct Shop;

fn main() {}
