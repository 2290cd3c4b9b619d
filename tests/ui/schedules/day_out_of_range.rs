use eventfold_es::prelude::*;

#[schedule(cron = "0 2 32 * *")]
struct Nightly;

fn main() {}
