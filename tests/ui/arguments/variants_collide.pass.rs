use eu::Inventory as OtherInventory;
use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

mod eu {
    use std::convert::Infallible;

    use eventfold_es::prelude::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum InventoryCommand {}

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum InventoryEvent {}

    #[aggregate(name = "inventory-eu", error = Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct Inventory;

    impl Decider for Inventory {
        fn decide(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, Infallible> {
            match command {}
        }

        fn evolve(&mut self, _event: &InventoryEvent) {}
    }
}

#[process_manager(subscribes = [Order], dispatches = [Inventory, OtherInventory])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.send("inv-1", InventoryCommand::Reserve { qty: 1 });
    }
}

fn main() {}
