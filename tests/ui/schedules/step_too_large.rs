use eventfold_es::prelude::*;

#[schedule(cron = "*/90 * * * *")]
struct Nightly;

fn main() {}
