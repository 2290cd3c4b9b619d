use eventfold_es::prelude::*;

#[schedule(cron = "*/15 * * * *")]
struct Nightly;

fn main() {}
