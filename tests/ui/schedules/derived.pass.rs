use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
#[derive(Debug)]
struct Nightly;

fn main() {}
