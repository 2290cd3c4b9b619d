use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
struct Nightly;

async fn open() -> Result<AggregateStore, eventfold_es::OpenError> {
    AggregateStore::builder("data")
        .schedule::<Nightly>()
        .open()
        .await
}

fn main() {}
