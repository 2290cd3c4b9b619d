use eventfold_es::prelude::*;

#[schedule(cron = "0 2 * * MON")]
struct Nightly;

fn main() {}
