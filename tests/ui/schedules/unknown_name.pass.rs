use eventfold_es::prelude::*;

#[schedule(cron = "@daily")]
struct Nightly;

fn main() {}
