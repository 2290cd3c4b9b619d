use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock; 0 if it stands before 1970.
pub(crate) fn seconds_since_1970() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
