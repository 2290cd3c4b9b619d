use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales;

impl Project<Order> for Sales {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
}

fn main() {}
