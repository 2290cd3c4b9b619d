use std::time::{Duration, Instant};

/// The time between two log messages.
const INTERVAL: Duration = Duration::from_secs(5);

/// Logs the progress of the verification.
pub(super) struct Pace {
    told: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            told: Instant::now(),
        }
    }

    /// Logs that `done` of `total` units of a stage are done, unless the last message is less than five seconds old.
    pub(super) fn tell(&mut self, stage: &'static str, done: u64, total: u64) {
        if self.is_due(Instant::now()) {
            tracing::info!(stage, done, total, "verifying the store");
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.told) >= INTERVAL;
        if is_due {
            self.told = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_every_five_seconds() {
        let mut pace = Pace::new();
        let begun = pace.told;
        let due: Vec<_> = (0..=16)
            .filter(|second| pace.is_due(begun + Duration::from_secs(*second)))
            .collect();
        assert_eq!(due, [5, 10, 15]);
    }
}
