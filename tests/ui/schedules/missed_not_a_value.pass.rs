use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * *", missed = "once")]
struct Nightly;

fn main() {}
