//! The store as a whole.

use eventfold_es::prelude::*;

use super::fulfillment::FulfillmentSaga;
use super::inventory::Inventory;
use super::order::Order;
use super::projections::{Sales, Stock};

/// All parts of the workflow.
#[event_store(
    aggregates = [Order, Inventory],
    process_managers = [FulfillmentSaga],
    projections = [Sales, Stock],
)]
pub struct Shop;

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored shapes change on purpose only: `EVENTFOLD_BLESS=1 cargo test -p eventfold-es-examples` writes the lock anew.
    #[test]
    fn stored_shapes_are_as_agreed() -> Result<(), eventfold_es::schema::LockError> {
        Shop::schema().check(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/order_fulfillment/events.lock"
        ))
    }
}
