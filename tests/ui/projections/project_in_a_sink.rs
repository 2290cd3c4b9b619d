use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order], sink = Lines)]
struct Sales;

impl Prepare for Sales {
    fn prepare(tx: &mut Vec<String>) -> Result<(), Infallible> {
        tx.clear();
        Ok(())
    }
}

impl Project<Order> for Sales {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
}

fn main() {}
