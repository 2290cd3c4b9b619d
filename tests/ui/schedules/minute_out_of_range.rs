use eventfold_es::prelude::*;

#[schedule(cron = "60 2 * * *")]
struct Nightly;

fn main() {}
