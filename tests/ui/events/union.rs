use eventfold_es::prelude::*;

#[derive(DomainEvent)]
union OrderEvent {
    qty: u32,
    units: i32,
}

fn main() {}
