use eventfold_es::prelude::*;

#[schedule(cron = "0 2 1 13 *")]
struct Nightly;

fn main() {}
