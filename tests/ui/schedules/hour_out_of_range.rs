use eventfold_es::prelude::*;

#[schedule(cron = "0 24 * * *")]
struct Nightly;

fn main() {}
