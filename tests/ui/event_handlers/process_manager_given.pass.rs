use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

fn main() {
    let _ = AggregateStore::builder("shop").process_manager::<Saga>();
}
