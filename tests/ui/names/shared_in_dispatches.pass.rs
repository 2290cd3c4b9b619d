use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

mod legacy {
    use std::convert::Infallible;

    use eventfold_es::prelude::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum OrderCommand {}

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum OldEvent {}

    #[aggregate(name = "old-order", command = OrderCommand, event = OldEvent, error = Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct OldOrder;

    impl Decider for OldOrder {
        fn decide(&self, command: OrderCommand) -> Result<Vec<OldEvent>, Infallible> {
            match command {}
        }

        fn evolve(&mut self, _event: &OldEvent) {}
    }
}

use legacy::OldOrder;

#[process_manager(subscribes = [Inventory], dispatches = [Order, OldOrder])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Inventory> for Saga {
    fn react(&mut self, _event: &InventoryEvent, _cx: &mut Reaction<'_, Self>) {}
}

fn main() {}
