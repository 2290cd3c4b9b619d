//! What is printed: `name: value` for each result, and comments that begin with `#`.

use std::time::Duration;

use crate::micros;

/// What a result must be.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtLeast(f64),
    Under(f64),
    /// It is printed to explain others.
    None,
}

/// The lines printed so far.
#[derive(Default)]
pub(crate) struct Report {
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn comment(&self, text: &str) {
        println!("# {text}");
    }

    /// Prints one result.
    pub(crate) fn value(&mut self, name: &str, value: f64, limit: Limit) {
        println!("{name}: {}", rounded(value));
        let missed = match limit {
            Limit::AtLeast(least) if value < least => format!("at least {least}"),
            Limit::Under(bound) if value >= bound => format!("under {bound}"),
            _ => return,
        };
        self.missed
            .push(format!("{name} is {}, not {missed}", rounded(value)));
    }

    /// Prints the median of several rounds, and how far apart they were.
    pub(crate) fn median(&mut self, name: &str, mut rounds: Vec<f64>, limit: Limit) {
        rounds.sort_by(f64::total_cmp);
        let (Some(least), Some(greatest)) = (rounds.first(), rounds.last()) else {
            return;
        };
        let spread = format!(
            "{name} in {} rounds: {}..{}",
            rounds.len(),
            rounded(*least),
            rounded(*greatest)
        );
        let median = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
        self.value(name, median, limit);
        self.comment(&spread);
    }

    /// Prints the median and the 99th percentile of single operations, in microseconds.
    pub(crate) fn latencies(&mut self, name: &str, mut latencies: Vec<Duration>) {
        latencies.sort_unstable();
        for (percent, suffix) in [(50, "p50_us"), (99, "p99_us")] {
            if let Some(latency) = latencies.get(latencies.len() * percent / 100) {
                self.value(&format!("{name}_{suffix}"), micros(*latency), Limit::None);
            }
        }
    }

    /// Prints the time that so many of 1,000 single operations stay under, in microseconds.
    pub(crate) fn per_mille(
        &mut self,
        name: &str,
        mut latencies: Vec<Duration>,
        number: usize,
        limit: Limit,
    ) {
        latencies.sort_unstable();
        if let Some(latency) = latencies.get(latencies.len() * number / 1000) {
            self.value(name, micros(*latency), limit);
        }
    }

    /// Says what was missed.
    pub(crate) fn finish(&self) {
        for missed in &self.missed {
            self.comment(&format!("missed: {missed}"));
        }
    }
}

/// Three digits behind the point where they say something.
fn rounded(value: f64) -> String {
    if value.abs() >= 1000.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}
