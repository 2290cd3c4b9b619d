use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales {
    units: u64,
}

impl Project<Order> for Sales {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
}

#[process_manager(subscribes = [Order], dispatches = [Inventory])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga {
    placed: u64,
}

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.send("inv-1", InventoryCommand::Reserve { qty: 1 });
    }
}

async fn look(store: &AggregateStore) -> Result<(), Box<dyn std::error::Error>> {
    println!("{:?}", store.dead_letters::<Sales>().await?);
    Ok(())
}

fn main() {}
