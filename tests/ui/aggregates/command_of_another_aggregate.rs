use eventfold_es::prelude::*;
use eventfold_es_tests_domain::{InventoryCommand, Order};

fn main() {
    let _ = Order::default().handle(InventoryCommand::Reserve { qty: 1 });
}
