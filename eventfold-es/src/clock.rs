//! The wall clock, which may jump or stand before 1970, and the event ids made from it.

mod store_clock;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::guarded::{Kept, guard, guard_task};
use uuid::{ClockSequence, ContextV7, Timestamp, Uuid};

pub(crate) use store_clock::{StoreClock, millis_since_1970};

/// The time of this process, if a test has set it.
#[cfg(feature = "testing")]
static SET: Mutex<Option<SystemTime>> = Mutex::new(None);

static IDS: Mutex<EventIds> = Mutex::new(EventIds::new());

/// Stops the wall clock of this process at `time`; `None` lets it run.
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

/// The clock of a store: the times of commits and decisions, of deadlines, and of retries.
pub trait Clock: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> SystemTime;

    /// Completes at `time`, or earlier: the caller then checks the clock again.
    fn sleep_until(&self, time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    fn sleep_until(&self, time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        (**self).sleep_until(time)
    }
}

/// The wall clock of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The longest time between two checks of the clock, which may jump.
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

/// A clock of the user. If it panics, the system clock replaces it.
pub(crate) struct GuardedClock(Kept<Box<dyn Clock>>);

impl GuardedClock {
    pub(crate) fn new(clock: impl Clock) -> Self {
        Self(Kept::new(Box::new(clock)))
    }
}

impl Clock for GuardedClock {
    fn now(&self) -> SystemTime {
        guard(clock_of_the_user, || self.0.now()).unwrap_or_else(|error| {
            tracing::error!(%error, "reading a clock failed");
            now()
        })
    }

    fn sleep_until(&self, time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let slept = match guard(clock_of_the_user, || self.0.sleep_until(time)) {
                Ok(sleep) => guard_task(clock_of_the_user, sleep).await,
                Err(error) => Err(error),
            };
            if let Err(error) = slept {
                tracing::error!(%error, "waiting for a clock failed");
                SystemClock.sleep_until(time).await;
            }
        })
    }
}

fn clock_of_the_user() -> String {
    "the clock of the store".to_owned()
}

/// A clock that stands until a test moves it.
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
    time: Arc<tokio::sync::watch::Sender<SystemTime>>,
}

#[cfg(feature = "testing")]
impl ManualClock {
    /// A clock at `time`.
    #[must_use]
    pub fn new(time: SystemTime) -> Self {
        Self {
            time: Arc::new(tokio::sync::watch::Sender::new(time)),
        }
    }

    /// Sets it to `time`, which may be earlier.
    pub fn set(&self, time: SystemTime) {
        self.time.send_replace(time);
    }

    /// Advances it.
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
            // An error means that the sender is dropped, so the clock stands forever.
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
    let mut ids = IDS.lock().unwrap_or_else(PoisonError::into_inner);
    ids.next(since)
}

/// The number of random bytes in one request to the system. A request for each id would be a system call.
const RANDOM_BYTES: usize = 4096;
/// The number of counter bits in an id, within a millisecond. The other bits besides the time are random.
const COUNTER_BITS: u32 = 42;

/// Makes the ids of this process. They are in order even if the clock is not.
struct EventIds {
    order: ContextV7,
    random: [u8; RANDOM_BYTES],
    /// The number of used random bytes.
    used: usize,
}

impl EventIds {
    const fn new() -> Self {
        Self {
            order: ContextV7::new(),
            random: [0; RANDOM_BYTES],
            used: RANDOM_BYTES,
        }
    }

    fn next(&mut self, since: Duration) -> Uuid {
        let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
        let Some(random) = self.random() else {
            return Uuid::new_v7(Timestamp::from_unix(&self.order, seconds, nanos));
        };
        let (counter, seconds, nanos) = self.order.generate_timestamp_sequence(seconds, nanos);
        let millis = seconds
            .saturating_mul(1000)
            .saturating_add(u64::from(nanos) / 1_000_000);
        // RFC 9562, section 5.7: 12 bits follow the version, 62 follow the variant. They hold the counter and 32 random
        // bits. The builder sets version and variant.
        let counter = counter & ((1 << COUNTER_BITS) - 1);
        let upper = (counter >> (COUNTER_BITS - 12)) as u16;
        let lower = (counter << 32 & (u64::MAX >> 2)) | u64::from(random);
        let mut bytes = [0; 10];
        let (first, rest) = bytes.split_at_mut(2);
        first.copy_from_slice(&upper.to_be_bytes());
        rest.copy_from_slice(&lower.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }

    /// `None` if the system has no randomness; `uuid` then decides.
    fn random(&mut self) -> Option<u32> {
        if self.used >= RANDOM_BYTES {
            getrandom::fill(&mut self.random).ok()?;
            self.used = 0;
        }
        let bytes = self.random.get(self.used..)?.first_chunk()?;
        self.used += size_of::<u32>();
        Some(u32::from_ne_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_also_where_the_clock_is_not() {
        let mut ids = EventIds::new();
        let mut last = Uuid::nil();
        let mut random = std::collections::HashSet::new();
        for number in 0..20_000_u64 {
            // The clock stands, continues, and jumps back.
            let millis = 1_700_000_000_000 + (number * 7) % 5 + number / 100;
            let id = ids.next(Duration::from_millis(millis));
            assert!(id > last, "{id} after {last}");
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            let (seconds, _) = id.get_timestamp().map_or((0, 0), |time| time.to_unix());
            assert!(seconds.abs_diff(millis / 1000) <= 1, "{id}");
            random.insert(id.as_u128() as u32);
            last = id;
        }
        assert!(random.len() > 19_900, "{} different ends", random.len());
    }
}
