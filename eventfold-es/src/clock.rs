//! The wall clock, which may jump or stand before 1970, and the event ids made from it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::{ContextV7, Timestamp, Uuid};

/// What the clock of this process shows instead of the time, once a test has set it.
#[cfg(feature = "testing")]
static SET: Mutex<Option<SystemTime>> = Mutex::new(None);

/// Keeps the ids of this process in order where the clock does not.
static ORDER: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// Stops the wall clock of this process at `time`; `None` lets it go on.
#[cfg(feature = "testing")]
pub fn set_clock(time: Option<SystemTime>) {
    *SET.lock().unwrap_or_else(PoisonError::into_inner) = time;
}

fn now() -> SystemTime {
    #[cfg(feature = "testing")]
    if let Some(time) = *SET.lock().unwrap_or_else(PoisonError::into_inner) {
        return time;
    }
    SystemTime::now()
}

/// Zero if the clock stands before 1970.
fn since_1970() -> Duration {
    now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn seconds_since_1970() -> u64 {
    since_1970().as_secs()
}

/// A new event id: a UUID of version 7. `Uuid::now_v7` panics if the clock stands before 1970.
pub(crate) fn event_id() -> Uuid {
    let since = since_1970();
    let order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    Uuid::new_v7(Timestamp::from_unix(
        &*order,
        since.as_secs(),
        since.subsec_nanos(),
    ))
}
