use eventfold_es::prelude::*;

#[schedule(cron = "0 2 1 12 *")]
struct Nightly;

fn main() {}
