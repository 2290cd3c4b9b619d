use eventfold_es::prelude::*;

#[schedule(cron = "59 2 * * *")]
struct Nightly;

fn main() {}
