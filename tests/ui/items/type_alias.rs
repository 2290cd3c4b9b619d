use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[aggregate]
type Sale = Order;

fn main() {}
