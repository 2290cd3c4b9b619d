//! The output of the example: a table, the totals, the throughput.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::time::Duration;

use rust_decimal::Decimal;

use super::projections::{Sales, Stock};

/// The truth of a store after a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    pub orders: u64,
    pub returns: u64,
    pub units_reserved: u64,
    pub units_returned: u64,
    pub units_adjusted: i64,
    pub dead_letters: u64,
    pub revenue: Decimal,
}

impl Totals {
    pub fn new(sales: &Sales, stock: &Stock, dead_letters: usize) -> Self {
        let countries = || sales.countries.values();
        Self {
            orders: countries().map(|country| country.orders).sum(),
            returns: sales.returns,
            units_reserved: stock.reserved,
            units_returned: stock.released,
            units_adjusted: stock.adjusted,
            dead_letters: dead_letters as u64,
            revenue: countries().map(|country| country.revenue).sum(),
        }
    }

    /// The totals of the shipped file.
    pub fn shipped() -> Self {
        Self {
            orders: 439,
            returns: 43,
            units_reserved: 90_389,
            units_returned: 10_815,
            units_adjusted: -1_398,
            dead_letters: 38,
            revenue: Decimal::new(18_424_833, 2),
        }
    }

    /// One `name: value` per line.
    pub fn lines(&self) -> String {
        format!(
            "orders: {}\nreturns: {}\nunits_reserved: {}\nunits_returned: {}\nunits_adjusted: {}\n\
             dead_letters: {}\nrevenue: {}\n",
            self.orders,
            self.returns,
            self.units_reserved,
            self.units_returned,
            self.units_adjusted,
            self.dead_letters,
            money(self.revenue),
        )
    }
}

/// Orders and revenue per country, the largest revenue first.
pub fn table(sales: &Sales) -> String {
    let mut rows: Vec<_> = sales.countries.iter().collect();
    rows.sort_by_key(|(_, country)| Reverse(country.revenue));
    let rows = rows.into_iter().map(|(name, country)| {
        [
            name.clone(),
            country.orders.to_string(),
            money(country.revenue),
        ]
    });
    let header = ["Country", "Orders", "Revenue"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    let width = |column: fn(&[String; 3]) -> &String| {
        let widths = rows.iter().map(|row| column(row).chars().count());
        widths.max().unwrap_or_default()
    };
    let widths = [
        width(|row| &row[0]),
        width(|row| &row[1]),
        width(|row| &row[2]),
    ];
    let [name_width, orders_width, revenue_width] = widths;
    let mut table = String::new();
    for [name, orders, revenue] in &rows {
        let _ = writeln!(
            table,
            "{name:name_width$}  {orders:>orders_width$}  {revenue:>revenue_width$}"
        );
    }
    table
}

/// The amount of work and its time.
pub fn throughput(lines: u64, commands: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let per_second = |count: u64| count as f64 / seconds.max(f64::EPSILON);
    format!(
        "seconds: {seconds:.3}\nlines_per_second: {:.0}\ncommands_per_second: {:.0}\n",
        per_second(lines),
        per_second(commands),
    )
}

/// Two decimals, and more where there are more.
fn money(amount: Decimal) -> String {
    let mut amount = amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    amount.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::projections::CountrySales;
    use super::*;

    #[test]
    fn money_is_never_rounded() {
        for (amount, expected) in [
            ("0", "0.00"),
            ("10.5", "10.50"),
            ("184248.3300", "184248.33"),
            ("-0.0625", "-0.0625"),
        ] {
            assert_eq!(money(amount.parse().unwrap()), expected);
        }
    }

    #[test]
    fn the_table_is_aligned_and_the_totals_are_its_sums() {
        let country = |orders, revenue| CountrySales {
            orders,
            revenue: Decimal::new(revenue, 2),
        };
        let sales = Sales {
            countries: [
                ("Réunion".to_owned(), country(1, 1_050)),
                ("United Kingdom".to_owned(), country(12, 123_456)),
            ]
            .into(),
            returns: 3,
        };
        assert_eq!(
            table(&sales),
            "Country         Orders  Revenue\n\
             United Kingdom      12  1234.56\n\
             Réunion              1    10.50\n"
        );
        let stock = Stock {
            reserved: 7,
            released: 2,
            adjusted: -4,
        };
        assert_eq!(
            Totals::new(&sales, &stock, 5).lines(),
            "orders: 13\nreturns: 3\nunits_reserved: 7\nunits_returned: 2\nunits_adjusted: -4\n\
             dead_letters: 5\nrevenue: 1245.06\n"
        );
    }
}
