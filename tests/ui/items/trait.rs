use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order])]
trait Sales {}

fn main() {}
