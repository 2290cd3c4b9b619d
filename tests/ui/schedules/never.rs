use eventfold_es::prelude::*;

#[schedule(cron = "0 2 30 2 *")]
struct Nightly;

fn main() {}
