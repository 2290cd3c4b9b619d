use eventfold_es::prelude::*;

#[schedule(at = "02:00", tz = "Europe/Berlin", catch_up = true, id = "nightly", event = Night, job = report)]
struct Nightly;

fn main() {}
