use eventfold_es::prelude::*;

#[schedule(time_zone = "Europe/Berlin")]
struct Nightly;

fn main() {}
