use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

mod domain {
    pub use eventfold_es_tests_domain::Order;
}

#[process_manager(subscribes = [domain::Order])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

fn main() {}
