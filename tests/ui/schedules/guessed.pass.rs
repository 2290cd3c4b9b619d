use eventfold_es::prelude::*;

#[schedule(
    cron = "0 2 * * *",
    time_zone = "Europe/Berlin",
    missed = "all",
    name = "nightly"
)]
struct Nightly;

fn main() {}
