use billing::Order as OtherOrder;
use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

mod billing {
    pub use eventfold_es_tests_domain::Inventory as Order;
}

#[event_store(aggregates = [Order, OtherOrder])]
struct Shop;

fn main() {
    let _ = Shop::builder("shop");
    let _ = Shop::topology();
}
