//! The read models: sales per country, and movements of the stock.

use std::collections::BTreeMap;

use eventfold_es::prelude::*;
use rust_decimal::Decimal;

use super::inventory::{Inventory, InventoryEvent};
use super::order::{Order, OrderEvent};

/// Orders and revenue per country, and the number of returns.
#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sales {
    pub countries: BTreeMap<String, CountrySales>,
    pub returns: u64,
}

/// The orders of one country.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CountrySales {
    pub orders: u64,
    pub revenue: Decimal,
}

impl Project<Order> for Sales {
    fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
        match event {
            OrderEvent::Placed(invoice) => {
                let country = self.countries.entry(invoice.country.clone()).or_default();
                country.orders += 1;
                country.revenue += invoice.amount();
            }
            OrderEvent::Returned(_) => self.returns += 1,
        }
    }
}

/// The moved units, over all stock codes.
#[projection(subscribes = [Inventory])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stock {
    pub reserved: u64,
    pub released: u64,
    pub adjusted: i64,
}

impl Project<Inventory> for Stock {
    fn project(&mut self, event: &InventoryEvent, _cx: &EventContext<'_>) {
        match event {
            InventoryEvent::Reserved { units } => self.reserved += u64::from(*units),
            InventoryEvent::Released { units } => self.released += u64::from(*units),
            InventoryEvent::Adjusted { units, .. } => self.adjusted += i64::from(*units),
        }
    }
}
