use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * MONDAY")]
struct Nightly;

fn main() {}
