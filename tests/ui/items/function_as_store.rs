use eventfold_es::prelude::*;

#[event_store(aggregates = [eventfold_es_tests_domain::Order])]
async fn open() {}

fn main() {}
