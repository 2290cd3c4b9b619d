use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], dispatches = [Inventory])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.send("inv-1", InventoryCommand::Reserve { qty: 1 });
    }
}

#[projection(subscribes = [Inventory])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Stock;

impl Project<Inventory> for Stock {
    fn project(&mut self, _event: &InventoryEvent, _cx: &EventContext<'_>) {}
}

#[event_store(aggregates = [Order, Inventory], process_managers = [Saga], projections = [Stock])]
struct Shop;

fn main() {
    let _ = Shop::builder("shop");
    let _ = Shop::topology();
}
