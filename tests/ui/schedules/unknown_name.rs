use eventfold_es::prelude::*;

#[schedule(cron = "@midnight")]
struct Nightly;

fn main() {}
