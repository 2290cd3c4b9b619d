use eventfold_es::prelude::*;
use eventfold_es_tests_domain::{Order, OrderCommand};

fn main() {
    let _ = Order::default().handle(OrderCommand::Place { qty: 1 });
}
