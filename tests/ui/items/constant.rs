use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order])]
const SAGA: u8 = 0;

fn main() {}
