use eventfold_es::prelude::*;

#[schedule(cron = "0,,30 * * * *")]
struct Nightly;

fn main() {}
