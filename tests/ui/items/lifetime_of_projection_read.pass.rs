use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales {
    name: String,
}

impl Project<Order> for Sales {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
}

#[event_store(aggregates = [Order], projections = [Sales])]
struct Shop;

async fn read() -> Result<(), eventfold_es::Error> {
    let store = Shop::open("shop").await?;
    let sales = store.projection::<Sales>().await?;
    println!("{}", sales.name);
    Ok(())
}

fn main() {}
