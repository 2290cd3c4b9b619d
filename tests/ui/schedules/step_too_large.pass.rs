use eventfold_es::prelude::*;

#[schedule(cron = "*/30 * * * *")]
struct Nightly;

fn main() {}
