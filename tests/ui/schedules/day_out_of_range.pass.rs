use eventfold_es::prelude::*;

#[schedule(cron = "0 2 31 * *")]
struct Nightly;

fn main() {}
