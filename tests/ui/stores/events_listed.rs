use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

async fn look(store: &AggregateStore) -> Result<(), Box<dyn std::error::Error>> {
    println!("{:?}", store.list::<OrderEvent>().await?);
    Ok(())
}

fn main() {}
