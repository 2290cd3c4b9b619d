//! The time of one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Clock;

/// The clock of a store: the clock of its builder, except that it never goes back. After a restart it continues within
/// a millisecond of the last commit.
///
/// It determines the times of commits, and of deadlines that are armed `after` a duration. When the inner clock jumps
/// back, this clock stands until the inner clock has caught up.
pub(crate) struct StoreClock {
    clock: Arc<dyn Clock>,
    /// The latest time that it has returned, in milliseconds since 1970.
    shown: AtomicU64,
    /// Whether the lag of the inner clock was reported.
    is_told: AtomicBool,
}

/// The lag of the inner clock, in milliseconds, above which it is reported.
const FAR: u64 = 60_000;

impl StoreClock {
    /// The clock of a store whose last commit has this time, in milliseconds since 1970.
    pub(crate) fn behind(last_commit: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            // The time of a commit may be a millisecond ahead of the clock: see `Log::pass`.
            shown: AtomicU64::new(last_commit.saturating_sub(1)),
            is_told: AtomicBool::new(false),
        }
    }

    /// Moves the clock to the time of a commit that another clock has timed, in milliseconds since 1970.
    pub(crate) fn is_behind(&self, commit: u64) {
        self.shown
            .fetch_max(commit.saturating_sub(1), Ordering::AcqRel);
    }

    /// The time, in whole milliseconds. It never goes back.
    pub(crate) fn now(&self) -> SystemTime {
        let now = UNIX_EPOCH.checked_add(Duration::from_millis(self.now_ms()));
        now.unwrap_or_else(|| self.clock.now())
    }

    /// The time in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = millis_since_1970(self.clock.now());
        self.shown.fetch_max(now, Ordering::AcqRel).max(now)
    }

    /// The lag of the inner clock, if it is large. The inner clock was wrong then or is wrong now. This clock stands
    /// until the inner clock has caught up.
    pub(crate) fn stands_for(&self) -> Option<Duration> {
        let now = millis_since_1970(self.clock.now());
        let behind = self.shown.load(Ordering::Acquire).saturating_sub(now);
        (behind >= FAR).then(|| Duration::from_millis(behind))
    }

    /// Reports the lag, once for each time that the clock falls behind. It holds no lock meanwhile.
    pub(crate) fn warn_if_it_stands(&self) {
        let stands = self.stands_for();
        let was_told = self.is_told.swap(stands.is_some(), Ordering::AcqRel);
        if let Some(behind) = stands
            && !was_told
        {
            tracing::warn!(
                seconds = behind.as_secs(),
                "the clock is behind the last commit: the time of the store stands until it has caught up"
            );
        }
    }

    /// The time of the inner clock, which may jump: seconds since 1970, for the `ts` of events.
    pub(crate) fn seconds_shown(&self) -> u64 {
        millis_since_1970(self.clock.now()) / 1000
    }
}

/// Zero for times before 1970.
pub(crate) fn millis_since_1970(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::super::ManualClock;
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let below = ManualClock::new(at(70));
        let clock = StoreClock::behind(51, Arc::new(below.clone()));
        for (shown, expected) in [(70, 70), (40, 70), (71, 71), (0, 71)] {
            below.set(at(shown));
            assert_eq!(clock.now(), at(expected));
        }
        below.set(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!((clock.now_ms(), clock.seconds_shown()), (71, 0));
        let reopened = StoreClock::behind(101, Arc::new(below));
        assert_eq!(reopened.now_ms(), 100);
    }

    #[test]
    fn it_tells_for_how_long_it_stands() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let below = ManualClock::new(at(1000));
        let clock = StoreClock::behind(0, Arc::new(below.clone()));
        clock.now();
        for (shown, expected) in [(1000, None), (941, None), (900, Some(100)), (1000, None)] {
            below.set(at(shown));
            assert_eq!(clock.stands_for(), expected.map(Duration::from_secs));
        }
    }
}
