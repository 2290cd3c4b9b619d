use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

fn execute(store: &AggregateStore) {
    drop(store.get::<Order>("ord-1"));
}

fn main() {}
