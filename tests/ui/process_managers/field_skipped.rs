use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga {
    #[serde(default, skip_serializing)]
    seen: u64,
}

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
    }
}

fn main() {}
