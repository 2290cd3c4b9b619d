//! The store as a whole.

use eventfold_es::prelude::*;

use super::fulfillment::FulfillmentSaga;
use super::inventory::Inventory;
use super::order::Order;
use super::projections::{Sales, Stock};

/// Everything that the workflow is made of.
#[event_store(
    aggregates = [Order, Inventory],
    process_managers = [FulfillmentSaga],
    projections = [Sales, Stock],
)]
pub struct Shop;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is stored changes with intent only: `EVENTFOLD_BLESS=1 cargo test -p eventfold-es-examples` writes the lock anew.
    #[test]
    fn stored_shapes_are_as_agreed() -> Result<(), eventfold_es::schema::LockError> {
        Shop::schema().check(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/order_fulfillment/events.lock"
        ))
    }
}
