use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

async fn look(store: &AggregateStore) -> Result<(), Box<dyn std::error::Error>> {
    let command = OrderEvent::Placed { qty: 1 };
    store.send("ord-1", command, CommandContext::default()).await?;
    Ok(())
}

fn main() {}
