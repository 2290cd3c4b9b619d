//! A clock that the program turns from day to day.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eventfold_es::clock::Clock;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// The number of days from 1970 to the day before day 1.
const DAY_ZERO: u64 = 20_000;

/// Stands at the beginning of a day.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    day: Arc<AtomicU64>,
}

impl Calendar {
    pub fn turn_to(&self, day: u64) {
        self.day.store(day, Ordering::SeqCst);
    }
}

impl Clock for Calendar {
    fn now(&self) -> SystemTime {
        day(self.day.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, _time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // It may return early: the store looks at the clock again.
        Box::pin(tokio::time::sleep(Duration::from_millis(10)))
    }
}

/// The beginning of a day.
pub fn day(day: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs((DAY_ZERO + day) * SECONDS_PER_DAY)
}

/// The day of a time.
pub fn shown(time: SystemTime) -> String {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let day = (since_1970.as_secs() / SECONDS_PER_DAY).saturating_sub(DAY_ZERO);
    format!("day {day}")
}
