use eventfold_es::prelude::*;

#[process_manager(subscribes = [Order])]
fn saga() {}

fn main() {}
