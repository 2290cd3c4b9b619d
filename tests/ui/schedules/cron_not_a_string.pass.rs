use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * *")]
struct Nightly;

fn main() {}
