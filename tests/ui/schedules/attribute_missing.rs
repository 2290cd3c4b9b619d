use eventfold_es::prelude::*;

struct Nightly;

async fn open() -> Result<AggregateStore, eventfold_es::OpenError> {
    AggregateStore::builder("data").schedule::<Nightly>().open().await
}

fn main() {}
