//! The `Inventory` aggregate: the units of one stock code.

use std::collections::BTreeSet;

use eventfold_es::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum InventoryCommand {
    /// Sets units aside for an order.
    Reserve { stock_code: String, units: u32 },
    /// Takes returned units back.
    Release { stock_code: String, units: u32 },
    /// Corrects the stock; `line` names the correction, so that it happens once.
    Adjust {
        stock_code: String,
        units: i32,
        line: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum InventoryEvent {
    Reserved { units: u32 },
    Released { units: u32 },
    Adjusted { units: i32, line: String },
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum InventoryError {
    #[error("`{stock_code}` is not stocked")]
    NotStocked { stock_code: String },
    #[error("the adjustment `{line}` was already made")]
    AlreadyAdjusted { line: String },
}

#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    pub reserved: u64,
    pub released: u64,
    pub adjusted: i64,
    /// The adjustments so far. They are few; reservations are not remembered one by one.
    pub adjustments: BTreeSet<String>,
}

impl Decider for Inventory {
    fn decide(&self, command: InventoryCommand) -> Result<Vec<InventoryEvent>, InventoryError> {
        match command {
            InventoryCommand::Reserve { stock_code, units } => {
                stocked(stock_code)?;
                Ok(vec![InventoryEvent::Reserved { units }])
            }
            InventoryCommand::Release { stock_code, units } => {
                stocked(stock_code)?;
                Ok(vec![InventoryEvent::Released { units }])
            }
            InventoryCommand::Adjust {
                stock_code,
                units,
                line,
            } => {
                stocked(stock_code)?;
                if self.adjustments.contains(&line) {
                    return Err(InventoryError::AlreadyAdjusted { line });
                }
                Ok(vec![InventoryEvent::Adjusted { units, line }])
            }
        }
    }

    fn evolve(&mut self, event: &InventoryEvent) {
        match event {
            InventoryEvent::Reserved { units } => self.reserved += u64::from(*units),
            InventoryEvent::Released { units } => self.released += u64::from(*units),
            InventoryEvent::Adjusted { units, line } => {
                self.adjusted += i64::from(*units);
                self.adjustments.insert(line.clone());
            }
        }
    }
}

/// Postage, discounts and bank charges are invoiced like goods, under codes that do not begin with a digit.
fn stocked(stock_code: String) -> Result<(), InventoryError> {
    if stock_code.starts_with(|first: char| first.is_ascii_digit()) {
        Ok(())
    } else {
        Err(InventoryError::NotStocked { stock_code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjust(line: &str) -> InventoryCommand {
        InventoryCommand::Adjust {
            stock_code: "21777".to_owned(),
            units: -10,
            line: line.to_owned(),
        }
    }

    fn execute(inventory: &mut Inventory, command: InventoryCommand) -> Result<(), InventoryError> {
        let events = inventory.decide(command)?;
        events.iter().for_each(|event| inventory.evolve(event));
        Ok(())
    }

    #[test]
    fn units_are_counted() {
        let mut inventory = Inventory::default();
        let stock_code = "85123A".to_owned();
        let reserve = InventoryCommand::Reserve {
            stock_code: stock_code.clone(),
            units: u32::MAX,
        };
        let release = InventoryCommand::Release {
            stock_code,
            units: 4,
        };
        execute(&mut inventory, reserve.clone()).unwrap();
        execute(&mut inventory, reserve).unwrap();
        execute(&mut inventory, release).unwrap();
        assert_eq!(inventory.reserved, 2 * u64::from(u32::MAX));
        assert_eq!(inventory.released, 4);
    }

    #[test]
    fn an_adjustment_is_made_once() {
        let mut inventory = Inventory::default();
        execute(&mut inventory, adjust("536589/1")).unwrap();
        execute(&mut inventory, adjust("536589/2")).unwrap();
        assert_eq!(
            execute(&mut inventory, adjust("536589/1")),
            Err(InventoryError::AlreadyAdjusted {
                line: "536589/1".to_owned()
            })
        );
        assert_eq!(inventory.adjusted, -20);
    }

    #[test]
    fn what_is_no_stock_is_rejected() {
        for stock_code in ["POST", "D", "C2", "BANK CHARGES", "", "١"] {
            let command = InventoryCommand::Reserve {
                stock_code: stock_code.to_owned(),
                units: 1,
            };
            assert_eq!(
                Inventory::default().decide(command),
                Err(InventoryError::NotStocked {
                    stock_code: stock_code.to_owned()
                })
            );
        }
    }
}
