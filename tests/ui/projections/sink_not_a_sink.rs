use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order], sink = Order)]
struct Sales;

impl Prepare for Sales {
    fn prepare(tx: &mut Vec<String>) -> Result<(), Infallible> {
        tx.clear();
        Ok(())
    }
}

impl ProjectInto<Order> for Sales {
    fn project(event: &OrderEvent, _cx: &EventContext<'_>, tx: &mut Vec<String>) -> Result<(), Infallible> {
        tx.push(format!("{event:?}"));
        Ok(())
    }
}

fn main() {}
