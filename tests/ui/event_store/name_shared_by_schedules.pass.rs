use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
struct Nightly;

#[schedule(cron = "@daily", name = "nightly")]
struct Other;

#[event_store(schedules = [Nightly])]
struct Shop;

fn main() {
    let _ = Shop::topology();
}
