use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales {
    units: u64,
}

impl React<Order> for Sales {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

fn main() {}
