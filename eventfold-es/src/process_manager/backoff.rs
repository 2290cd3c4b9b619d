//! The waits between attempts.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

const DEFAULT_MAX: Duration = Duration::from_secs(300);
const DEFAULT_ATTEMPTS: u32 = 10;
const DEFAULT_JITTER: u16 = 200;
/// The number of parts in a jitter of 1.
const WHOLE: u16 = 1000;

/// Waits between attempts that double from one to the next, up to a bound.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use eventfold_es::{Backoff, Exhausted};
///
/// let backoff = Backoff::exponential(Duration::from_secs(1))
///     .max(Duration::from_secs(5))
///     .jitter(0.0)
///     .attempts(5)
///     .then(Exhausted::Park);
/// let delays: Vec<_> = (1..=5).map(|attempt| backoff.delay(attempt, "a command id")).collect();
/// let seconds = |seconds| Some(Duration::from_secs(seconds));
/// assert_eq!(delays, [seconds(1), seconds(2), seconds(4), seconds(5), None]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "it is how a retry is asked for"]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    /// `None` for no limit.
    attempts: Option<u32>,
    /// The jitter, in thousandths.
    jitter: u16,
    then: Exhausted,
}

/// The action for a command, or for an instance, after its last attempt has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Exhausted {
    /// It becomes a dead letter.
    #[default]
    DeadLetter,
    /// It is skipped; only a count remains.
    Skip,
    /// The instance is parked.
    Park,
    /// The process manager stops.
    Stop,
}

impl Backoff {
    /// Waits `initial` after the first attempt, and twice as long after each further attempt.
    ///
    /// Defaults: at most five minutes, ten attempts, a jitter of 0.2, then a dead letter.
    pub const fn exponential(initial: Duration) -> Self {
        Self {
            initial,
            max: DEFAULT_MAX,
            attempts: Some(DEFAULT_ATTEMPTS),
            jitter: DEFAULT_JITTER,
            then: Exhausted::DeadLetter,
        }
    }

    /// The longest wait.
    pub const fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// The number of all attempts, including the first; 0 counts as 1.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Sets no limit to the attempts.
    pub const fn forever(mut self) -> Self {
        self.attempts = None;
        self
    }

    /// The part by which a wait may be shorter, from 0 (never shorter) to 1. So work that failed together is not
    /// retried together.
    ///
    /// The part depends only on the id of the command and on the attempt. A value below 0 counts as 0, and a value
    /// above 1 counts as 1.
    pub fn jitter(mut self, part: f64) -> Self {
        // A cast of NaN gives 0.
        self.jitter = (part.clamp(0.0, 1.0) * f64::from(WHOLE)) as u16;
        self
    }

    /// Sets the action after the last attempt. Default: a dead letter.
    pub const fn then(mut self, exhausted: Exhausted) -> Self {
        self.then = exhausted;
        self
    }

    /// The action after the last attempt.
    #[must_use]
    pub const fn exhausted(&self) -> Exhausted {
        self.then
    }

    /// The wait after the attempt number `attempt`, from 1, of the command `command_id`; `None` after the last attempt.
    #[must_use]
    pub fn delay(&self, attempt: u32, command_id: &str) -> Option<Duration> {
        let attempt = attempt.max(1);
        if self.attempts.is_some_and(|attempts| attempt >= attempts) {
            return None;
        }
        let factor = 2_u32.checked_pow(attempt - 1).unwrap_or(u32::MAX);
        let whole = self.initial.saturating_mul(factor).min(self.max);
        let hash = xxh64(command_id.as_bytes(), u64::from(attempt));
        let part = (hash % u64::from(WHOLE)) as u32 * u32::from(self.jitter) / u32::from(WHOLE);
        // Any sensible longest wait is far below the limit of the multiplication.
        let shorter = whole / u32::from(WHOLE) * part;
        Some(whole.saturating_sub(shorter))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_bound_and_never_overflow() {
        let backoff = Backoff::exponential(SECOND).jitter(0.0).forever();
        let waits = |backoff: Backoff| {
            [1, 2, 3, 9, 10, 40, u32::MAX].map(|attempt| backoff.delay(attempt, "id"))
        };
        let bounded = [1, 2, 4, 256, 300, 300, 300].map(|seconds| Some(SECOND * seconds));
        assert_eq!(waits(backoff), bounded);
        let unbounded = Backoff::exponential(Duration::MAX)
            .max(Duration::MAX)
            .forever();
        assert!(unbounded.delay(u32::MAX, "id").is_some());
        assert_eq!(
            Backoff::exponential(Duration::ZERO).delay(3, "id"),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn the_number_of_attempts_counts_the_first() {
        let backoff = Backoff::exponential(SECOND);
        assert!(backoff.delay(9, "id").is_some());
        assert_eq!(backoff.delay(10, "id"), None);
        assert_eq!(backoff.attempts(1).delay(1, "id"), None);
        assert_eq!(backoff.attempts(0).delay(1, "id"), None);
        assert!(backoff.attempts(2).delay(0, "id").is_some());
        assert_eq!(backoff.exhausted(), Exhausted::DeadLetter);
        assert_eq!(backoff.then(Exhausted::Stop).exhausted(), Exhausted::Stop);
    }

    #[test]
    fn jitter_only_shortens_is_the_same_each_time_and_spreads() {
        let backoff = Backoff::exponential(SECOND).jitter(0.5);
        let delays: Vec<_> = (0..200)
            .filter_map(|number| backoff.delay(1, &number.to_string()))
            .collect();
        assert_eq!(delays.len(), 200);
        for (number, delay) in delays.iter().enumerate() {
            assert!(
                *delay > SECOND / 2 - SECOND / 1000 && *delay <= SECOND,
                "{delay:?}"
            );
            assert_eq!(backoff.delay(1, &number.to_string()), Some(*delay));
        }
        let below = delays
            .iter()
            .filter(|delay| **delay < SECOND * 3 / 4)
            .count();
        assert!(
            (60..140).contains(&below),
            "{below} of 200 in the lower half"
        );
        let same_wait = backoff.max(SECOND).forever();
        let attempts: BTreeSet<_> = (1..=50)
            .filter_map(|attempt| same_wait.delay(attempt, "id"))
            .collect();
        assert!(attempts.len() > 25, "{attempts:?}");
        let full = backoff.jitter(f64::INFINITY);
        assert!(full.delay(1, "id").is_some_and(|delay| delay <= SECOND));
        assert_eq!(backoff.jitter(f64::NAN).delay(1, "id"), Some(SECOND));
        assert_eq!(backoff.jitter(-1.0).delay(1, "id"), Some(SECOND));
    }

    #[test]
    fn it_is_stored_and_read_back() {
        let backoff = Backoff::exponential(SECOND)
            .attempts(3)
            .then(Exhausted::Park);
        let stored = serde_json::to_string(&backoff).unwrap();
        assert_eq!(serde_json::from_str::<Backoff>(&stored).unwrap(), backoff);
    }
}
