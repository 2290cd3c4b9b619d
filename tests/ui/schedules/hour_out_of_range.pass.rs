use eventfold_es::prelude::*;

#[schedule(cron = "0 0 * * *")]
struct Nightly;

fn main() {}
