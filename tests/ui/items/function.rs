use eventfold_es::prelude::*;
use eventfold_es_tests::domain::*;

#[process_manager(subscribes = [Order])]
fn saga() {}

fn main() {}
