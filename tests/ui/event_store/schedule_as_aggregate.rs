use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
struct Nightly;

#[event_store(aggregates = [Order, Nightly])]
struct Shop;

fn main() {
    let _ = Shop::topology();
}
