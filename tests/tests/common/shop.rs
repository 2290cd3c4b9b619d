//! The aggregates of the Phase 3 document: orders, and the stock that they are reserved from.

use eventfold_es::prelude::*;

/// What can be asked of an [`Order`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderCommand {
    /// Places it.
    Place {
        /// What.
        sku: String,
        /// How many.
        qty: u32,
    },
    /// Confirms it.
    Confirm,
}

/// `Place` of `qty` pieces of `sku`.
#[must_use]
pub fn place(sku: &str, qty: u32) -> OrderCommand {
    OrderCommand::Place {
        sku: sku.to_owned(),
        qty,
    }
}

/// What happened to an [`Order`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    /// It was placed.
    Placed {
        /// What.
        sku: String,
        /// How many.
        qty: u32,
    },
    /// It was confirmed.
    Confirmed,
}

/// Why an [`Order`] rejects a command.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum OrderError {
    /// It was placed before.
    #[error("the order was already placed")]
    AlreadyPlaced,
}

/// An order.
#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// How many were ordered.
    pub qty: u32,
    /// Whether it was confirmed.
    pub confirmed: bool,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match command {
            OrderCommand::Place { .. } if self.qty > 0 => Err(OrderError::AlreadyPlaced),
            OrderCommand::Place { sku, qty } => Ok(vec![OrderEvent::Placed { sku, qty }]),
            OrderCommand::Confirm if self.confirmed => Ok(Vec::new()),
            OrderCommand::Confirm => Ok(vec![OrderEvent::Confirmed]),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed { qty, .. } => self.qty += qty,
            OrderEvent::Confirmed => self.confirmed = true,
        }
    }
}

/// What can be asked of an [`Inventory`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum InventoryCommand {
    /// Reserves pieces.
    Reserve {
        /// How many.
        qty: u32,
    },
}

/// What happened to an [`Inventory`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum InventoryEvent {
    /// Pieces were reserved.
    Reserved {
        /// How many.
        qty: u32,
    },
}

/// Why an [`Inventory`] rejects a command.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum InventoryError {
    /// There are fewer pieces than that.
    #[error("{wanted} pieces are wanted, {left} are left")]
    OutOfStock {
        /// How many are wanted.
        wanted: u32,
        /// How many are left.
        left: u32,
    },
}

/// The pieces of each item.
pub const IN_STOCK: u32 = 100;

/// The stock of one item.
#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// How many pieces are reserved.
    pub reserved: u32,
}

impl Decider for Inventory {
    fn decide(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, InventoryError> {
        let InventoryCommand::Reserve { qty } = command;
        let left = IN_STOCK - self.reserved;
        if qty > left {
            return Err(InventoryError::OutOfStock { wanted: qty, left });
        }
        Ok(vec![InventoryEvent::Reserved { qty }])
    }

    fn evolve(&mut self, event: &InventoryEvent) {
        let InventoryEvent::Reserved { qty } = event;
        self.reserved += qty;
    }
}
