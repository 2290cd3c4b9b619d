//! The totals of the dashboard, and the screen that shows them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Stdout, Write as _};

use super::order::OrderEvent;

/// Totals of all orders so far.
#[derive(Default)]
pub struct Dashboard {
    branches: BTreeMap<String, Totals>,
    /// The branch and the price of each open order.
    open: HashMap<String, (String, u64)>,
}

#[derive(Clone, Copy, Default)]
struct Totals {
    placed: u64,
    shipped: u64,
    cancelled: u64,
    shipped_cents: u64,
}

impl Dashboard {
    pub fn apply(&mut self, order: &str, event: &OrderEvent) {
        if let OrderEvent::Placed { branch, cents } = event {
            self.branches.entry(branch.clone()).or_default().placed += 1;
            self.open.insert(order.to_owned(), (branch.clone(), *cents));
            return;
        }
        // An order ends once, after it was placed.
        let Some((branch, cents)) = self.open.remove(order) else {
            return;
        };
        let totals = self.branches.entry(branch).or_default();
        match event {
            OrderEvent::Placed { .. } => {}
            OrderEvent::Shipped => {
                totals.shipped += 1;
                totals.shipped_cents += cents;
            }
            OrderEvent::Cancelled => totals.cancelled += 1,
        }
    }

    /// The number of orders that were shipped or cancelled.
    pub fn ended(&self) -> u64 {
        let all = self.all();
        all.shipped + all.cancelled
    }

    fn all(&self) -> Totals {
        self.branches
            .values()
            .fold(Totals::default(), |sum, branch| Totals {
                placed: sum.placed + branch.placed,
                shipped: sum.shipped + branch.shipped,
                cancelled: sum.cancelled + branch.cancelled,
                shipped_cents: sum.shipped_cents + branch.shipped_cents,
            })
    }
}

impl fmt::Display for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Branch     placed   shipped  cancelled      EUR")?;
        let all = self.all();
        let branches = self
            .branches
            .iter()
            .map(|(branch, totals)| (branch.as_str(), totals));
        for (name, totals) in branches.chain([("all", &all)]) {
            let (placed, shipped, cancelled) = (totals.placed, totals.shipped, totals.cancelled);
            let (euros, cents) = (totals.shipped_cents / 100, totals.shipped_cents % 100);
            writeln!(
                f,
                "{name:<8} {placed:>8} {shipped:>9} {cancelled:>10} {euros:>5}.{cents:02}"
            )?;
        }
        Ok(())
    }
}

/// Shows a dashboard: in place on a terminal, once at the end elsewhere.
pub struct Screen {
    out: Stdout,
    is_terminal: bool,
    /// The number of lines of the last drawing on a terminal.
    lines: usize,
    redraws: u128,
}

impl Screen {
    pub fn new(out: Stdout, is_terminal: bool) -> Self {
        Self {
            out,
            is_terminal,
            lines: 0,
            redraws: 0,
        }
    }

    /// The number of drawings before the last drawing.
    pub fn redraws(&self) -> u128 {
        self.redraws
    }

    pub fn draw(&mut self, dashboard: &Dashboard) -> io::Result<()> {
        self.redraws += 1;
        match self.is_terminal {
            true => self.print(dashboard),
            false => Ok(()),
        }
    }

    pub fn finish(&mut self, dashboard: &Dashboard) -> io::Result<()> {
        self.print(dashboard)
    }

    fn print(&mut self, dashboard: &Dashboard) -> io::Result<()> {
        let text = dashboard.to_string();
        if self.lines > 0 {
            // To the first line of the previous drawing, and clear from there.
            write!(self.out, "\x1b[{}A\x1b[J", self.lines)?;
        }
        write!(self.out, "{text}")?;
        self.lines = text.lines().count();
        self.out.flush()
    }
}
