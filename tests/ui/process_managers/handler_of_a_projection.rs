use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], dispatches = [Inventory])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga {
    placed: u64,
}

impl Project<Order> for Saga {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {
    }
}

fn main() {}
