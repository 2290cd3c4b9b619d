//! Two aggregates and a database that the compile-fail cases are about.
//!
//! A crate of its own: rustc names what else is in scope, so another aggregate here changes the messages under `ui/`.

use std::convert::Infallible;

use eventfold_es::Sink;
use eventfold_es::prelude::*;

/// What can be asked of an [`Order`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderCommand {
    /// Places it.
    Place {
        /// How many.
        qty: u32,
    },
}

/// What happened to an [`Order`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    /// It was placed.
    Placed {
        /// How many.
        qty: u32,
    },
}

/// An order.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// How many were ordered.
    pub qty: u32,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
        let OrderCommand::Place { qty } = command;
        Ok(vec![OrderEvent::Placed { qty }])
    }

    fn evolve(&mut self, event: &OrderEvent) {
        let OrderEvent::Placed { qty } = event;
        self.qty += qty;
    }
}

/// What can be asked of an [`Inventory`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum InventoryCommand {
    /// Reserves items.
    Reserve {
        /// How many.
        qty: u32,
    },
}

/// What happened to an [`Inventory`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum InventoryEvent {
    /// Items were reserved.
    Reserved {
        /// How many.
        qty: u32,
    },
}

/// The stock of one item.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// How many are reserved.
    pub reserved: u32,
}

impl Decider for Inventory {
    fn decide(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, Infallible> {
        let InventoryCommand::Reserve { qty } = command;
        Ok(vec![InventoryEvent::Reserved { qty }])
    }

    fn evolve(&mut self, event: &InventoryEvent) {
        let InventoryEvent::Reserved { qty } = event;
        self.reserved += qty;
    }
}

/// A database that forgets every line.
#[derive(Debug)]
pub struct Lines;

impl Sink for Lines {
    type Connection = ();
    type Tx<'t> = Vec<String>;
    type Error = Infallible;

    fn connect(&self) -> Result<(), Infallible> {
        Ok(())
    }

    fn transact(
        _connection: &mut (),
        _projection: &str,
        work: &mut dyn FnMut(&mut Vec<String>, Option<&str>) -> Option<String>,
    ) -> Result<(), Infallible> {
        work(&mut Vec::new(), None);
        Ok(())
    }
}
