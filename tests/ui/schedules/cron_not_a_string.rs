use eventfold_es::prelude::*;

#[schedule(cron = 2)]
struct Nightly;

fn main() {}
