//! From lines to commands: one per order, one per return, one per stock adjustment.

use std::collections::HashMap;

use super::fulfillment::inventory_id;
use super::inventory::InventoryCommand;
use super::lines::{Line, Lines, Malformed};
use super::order::{Invoice, InvoiceLine, OrderCommand};

/// The commands of a file, up to its first malformed line.
#[derive(Debug)]
pub struct Invoices {
    /// In the order of their first lines.
    pub steps: Vec<Step>,
    /// The number of lines, including those that move nothing.
    pub lines: u64,
    /// The first malformed line; nothing behind it is in `steps`.
    pub malformed: Option<Box<Malformed>>,
    /// Invoices that begin before the malformed line and may continue at it or behind it. They wait until it is fixed, because
    /// an order is placed whole.
    pub waiting: Vec<String>,
}

/// One command, and the line it begins at.
#[derive(Debug)]
pub struct Step {
    pub line: u64,
    pub invoice: String,
    pub action: Action,
}

/// A command with its address.
#[derive(Debug)]
pub enum Action {
    Order(String, OrderCommand),
    Adjustment(String, InventoryCommand),
}

/// Reads a file.
///
/// # Errors
///
/// The problem of its header.
pub fn read(bytes: &[u8]) -> Result<Invoices, String> {
    let mut drafts = Drafts::default();
    let mut malformed = None;
    for line in Lines::new(bytes)? {
        match line {
            Ok(line) => drafts.add(line),
            Err(found) => malformed = Some(found),
        }
    }
    Ok(drafts.finish(malformed))
}

/// The invoices while they are read: their lines need not stand together.
#[derive(Default)]
struct Drafts {
    steps: Vec<Draft>,
    open: HashMap<String, OpenInvoice>,
    lines: u64,
    last_invoice: Option<String>,
}

/// The known data of an invoice.
#[derive(Default)]
struct OpenInvoice {
    /// Its lines so far, whatever they are.
    lines: u32,
    /// Its place among the steps, once it has a line to place or return.
    step: Option<usize>,
}

/// A step whose command is not complete yet.
enum Draft {
    Invoice {
        line: u64,
        number: String,
        invoice: Invoice,
    },
    Adjustment(Step),
}

impl Drafts {
    fn add(&mut self, line: Line) {
        self.lines += 1;
        let returned = is_return(&line.invoice);
        let open = self.open.entry(line.invoice.clone()).or_default();
        open.lines += 1;
        self.last_invoice = Some(line.invoice.clone());
        if line.quantity == 0 {
            return;
        }
        if line.quantity < 0 && !returned {
            let command = InventoryCommand::Adjust {
                units: line.quantity,
                line: format!("{}/{}", line.invoice, open.lines),
                stock_code: line.stock_code.clone(),
            };
            self.steps.push(Draft::Adjustment(Step {
                line: line.number,
                invoice: line.invoice,
                action: Action::Adjustment(inventory_id(&line.stock_code), command),
            }));
            return;
        }
        let next = self.steps.len();
        let step = *open.step.get_or_insert(next);
        if step == next {
            self.steps.push(Draft::Invoice {
                line: line.number,
                number: line.invoice,
                invoice: Invoice {
                    customer: line.customer,
                    country: line.country,
                    date: line.date,
                    lines: Vec::new(),
                },
            });
        }
        if let Some(Draft::Invoice { invoice, .. }) = self.steps.get_mut(step) {
            invoice.lines.push(InvoiceLine {
                stock_code: line.stock_code,
                description: line.description,
                units: line.quantity.unsigned_abs(),
                unit_price: line.unit_price,
            });
        }
    }

    fn finish(self, malformed: Option<Box<Malformed>>) -> Invoices {
        let waits = |number: &String| {
            malformed.as_ref().is_some_and(|malformed| {
                malformed.behind.contains(number)
                    || malformed.invoice.as_ref() == Some(number)
                    || (malformed.shifted && self.last_invoice.as_ref() == Some(number))
            })
        };
        let mut steps = Vec::new();
        let mut waiting = Vec::new();
        for draft in self.steps {
            match draft {
                Draft::Adjustment(step) => steps.push(step),
                Draft::Invoice { number, .. } if waits(&number) => waiting.push(number),
                Draft::Invoice {
                    line,
                    number,
                    invoice,
                } => {
                    let id = format!("ord-{number}");
                    let command = if is_return(&number) {
                        OrderCommand::Return(invoice)
                    } else {
                        OrderCommand::Place(invoice)
                    };
                    steps.push(Step {
                        line,
                        invoice: number,
                        action: Action::Order(id, command),
                    });
                }
            }
        }
        Invoices {
            steps,
            lines: self.lines,
            malformed,
            waiting,
        }
    }
}

/// The number of a return starts with `C`.
fn is_return(invoice: &str) -> bool {
    invoice.starts_with('C')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

    fn invoices(lines: &[&str]) -> Invoices {
        read(format!("{HEADER}{}\n", lines.join("\n")).as_bytes()).unwrap()
    }

    /// The address of each step, with the units of each of its lines.
    fn steps(invoices: &Invoices) -> Vec<(&str, Vec<i64>)> {
        let units = |invoice: &Invoice| -> Vec<i64> {
            invoice
                .lines
                .iter()
                .map(|line| i64::from(line.units))
                .collect()
        };
        invoices
            .steps
            .iter()
            .map(|step| match &step.action {
                Action::Order(id, OrderCommand::Place(invoice) | OrderCommand::Return(invoice)) => {
                    (id.as_str(), units(invoice))
                }
                Action::Adjustment(id, InventoryCommand::Adjust { units, .. }) => {
                    (id.as_str(), vec![i64::from(*units)])
                }
                Action::Adjustment(_, other) => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn lines_become_orders_returns_and_adjustments() {
        let invoices = invoices(&[
            "1,A,,6,first,1,7,EIRE",
            "1,B,,-2,,0,,EIRE",
            "C2,A,,-3,,1,,EIRE",
            "1,A,,4,second,1,,France",
            "C2,B,,1,,1,,EIRE",
            "3,B,,0,,1,,EIRE",
            "4,B,,-5,,1,,EIRE",
        ]);
        assert_eq!(
            steps(&invoices),
            [
                ("ord-1", vec![6, 4]),
                ("inv-B", vec![-2]),
                ("ord-C2", vec![3, 1]),
                ("inv-B", vec![-5])
            ]
        );
        assert_eq!(invoices.lines, 7);
        let Action::Order(_, OrderCommand::Place(first)) = &invoices.steps[0].action else {
            panic!("{:?}", invoices.steps[0]);
        };
        assert_eq!(first.customer.as_deref(), Some("7"));
        assert_eq!(
            (first.country.as_str(), first.date.as_str()),
            ("EIRE", "first")
        );
    }

    #[test]
    fn an_adjustment_names_its_line_wherever_it_stands() {
        let name = |lines: &[&str]| -> Vec<String> {
            let names = invoices(lines).steps.into_iter();
            names
                .filter_map(|step| match step.action {
                    Action::Adjustment(_, InventoryCommand::Adjust { line, .. }) => Some(line),
                    _ => None,
                })
                .collect()
        };
        let lines = ["1,A,,6,,1,,EIRE", "1,A,,-2,,1,,EIRE", "1,A,,-2,,1,,EIRE"];
        assert_eq!(name(&lines), ["1/2", "1/3"]);
        let moved = [
            "0,A,,1,,1,,EIRE",
            lines[0],
            lines[1],
            "2,A,,1,,1,,EIRE",
            lines[2],
        ];
        assert_eq!(name(&moved), ["1/2", "1/3"]);
    }

    #[test]
    fn an_invoice_that_may_go_on_behind_a_malformed_line_waits() {
        let before = ["1,A,,1,,1,,EIRE", "2,A,,1,,1,,EIRE", "1,B,,-2,,0,,EIRE"];
        for (at, placed) in [
            ("3,A,,six,,1,,EIRE", vec!["ord-1", "ord-2", "inv-B"]),
            ("2,A,,six,,1,,EIRE", vec!["ord-1", "inv-B"]),
            ("3,A,,six,,1,,EIRE\n2,A,,1,,1,,EIRE", vec!["ord-1", "inv-B"]),
            ("3,A,\"open,6,,1,,EIRE\n2,A,,1,,1,,EIRE", vec!["inv-B"]),
            // Whose line this is cannot be told, but the invoice before it may go on here.
            (",A,,1,,1,,EIRE", vec!["ord-2", "inv-B"]),
            ("garbage", vec!["ord-2", "inv-B"]),
        ] {
            let lines = [&before[..], &[at, "4,A,,1,,1,,EIRE"]].concat();
            let invoices = invoices(&lines);
            let ids: Vec<_> = steps(&invoices).into_iter().map(|step| step.0).collect();
            assert_eq!(ids, placed, "{at}");
            assert_eq!(invoices.malformed.as_ref().unwrap().line, 5);
            assert_eq!(invoices.lines, 3);
            let waiting = 3 - placed.len();
            assert_eq!(invoices.waiting.len(), waiting, "{at}");
        }
    }

    #[test]
    fn the_shipped_file_is_as_its_readme_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/online-retail-10k.csv");
        let invoices = read(&std::fs::read(path).unwrap()).unwrap();
        assert!(invoices.malformed.is_none());
        assert_eq!(invoices.lines, 10_000);
        let count = |wanted: fn(&Action) -> bool| {
            let steps = invoices.steps.iter();
            steps.filter(|step| wanted(&step.action)).count()
        };
        let placed = count(|action| matches!(action, Action::Order(_, OrderCommand::Place(_))));
        let returned = count(|action| matches!(action, Action::Order(_, OrderCommand::Return(_))));
        let adjusted = count(|action| matches!(action, Action::Adjustment(..)));
        assert_eq!((placed, returned, adjusted), (439, 43, 30));
    }
}
