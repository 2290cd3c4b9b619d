use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

async fn look(store: &AggregateStore) -> Result<(), Box<dyn std::error::Error>> {
    let order = store.get::<OrderEvent>("ord-1").await?;
    println!("{:?}", order.state().await?);
    Ok(())
}

fn main() {}
