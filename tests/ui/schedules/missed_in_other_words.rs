use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * *", missed = "latest")]
struct Nightly;

fn main() {}
