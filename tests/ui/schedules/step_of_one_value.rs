use eventfold_es::prelude::*;

#[schedule(cron = "0/15 * * * *")]
struct Nightly;

fn main() {}
