use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

fn execute(store: &AggregateStore) {
    let place = OrderCommand::Place { qty: 1 };
    drop(store.send(place, CommandContext::default()));
}

fn main() {}
