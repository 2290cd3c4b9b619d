use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order])]
struct Saga<'a> {
    name: &'a str,
}

fn main() {}
