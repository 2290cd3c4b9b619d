//! The wall clock, which may jump or stand before 1970, and the event ids made from it.

use std::future::Future;
use std::pin::Pin;
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

/// What tells process managers the time, for their deadlines and for commands that are tried again.
pub trait Clock: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> SystemTime;

    /// Completes when it is `time`, or earlier: whoever waits looks at the clock then.
    fn sleep_until(&self, time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The wall clock of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// How long nobody looks at the clock at most, which may jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        now()
    }

    fn sleep_until(&self, time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let left = time.duration_since(now()).unwrap_or_default();
        Box::pin(tokio::time::sleep(left.min(LONGEST_SLEEP)))
    }
}

/// A clock that stands until it is moved.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use eventfold_es::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(60));
/// ```
#[cfg(feature = "testing")]
#[derive(Debug, Clone)]
pub struct ManualClock {
    time: std::sync::Arc<tokio::sync::watch::Sender<SystemTime>>,
}

#[cfg(feature = "testing")]
impl ManualClock {
    /// A clock that shows `time`.
    #[must_use]
    pub fn new(time: SystemTime) -> Self {
        Self {
            time: std::sync::Arc::new(tokio::sync::watch::Sender::new(time)),
        }
    }

    /// Moves it to `time`, which may be earlier.
    pub fn set(&self, time: SystemTime) {
        self.time.send_replace(time);
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.time.send_modify(|time| *time += by);
    }
}

#[cfg(feature = "testing")]
impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.time.borrow()
    }

    fn sleep_until(&self, time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut shown = self.time.subscribe();
        Box::pin(async move {
            // An error means that nobody moves it any more.
            if shown.wait_for(|shown| *shown >= time).await.is_err() {
                std::future::pending().await
            }
        })
    }
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
