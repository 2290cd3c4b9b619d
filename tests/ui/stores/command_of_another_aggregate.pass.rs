use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

fn execute(order: &eventfold_es::AggregateHandle<Order>) {
    let place = OrderCommand::Place { qty: 1 };
    drop(order.execute(place, CommandContext::default()));
}

fn main() {}
