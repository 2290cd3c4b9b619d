use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
#[aggregate]
struct Nightly;

fn main() {}
