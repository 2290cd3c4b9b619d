//! A log with the figures of its answers.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{AppendError, CommitLog, Entry, LogError};

/// A log that counts its answers.
pub(crate) struct Measured {
    log: Box<dyn CommitLog>,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    fenced: AtomicU64,
    unavailable: AtomicU64,
    unknown: AtomicU64,
    /// The time of the acknowledged appends, in microseconds.
    micros: AtomicU64,
    /// The time of the last answer, in milliseconds since 1970; 0 before the first.
    answered: AtomicU64,
}

/// The appends of a node since its store was opened, by their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appends {
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) fenced: u64,
    pub(crate) unavailable: u64,
    pub(crate) unknown: u64,
    /// The time of all acknowledged appends together.
    pub(crate) time: Duration,
}

impl Measured {
    pub(crate) fn new(log: impl CommitLog) -> Self {
        Self {
            log: Box::new(log),
            figures: Figures::default(),
        }
    }

    pub(crate) fn appends(&self) -> Appends {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let figures = &self.figures;
        Appends {
            acknowledged: of(&figures.acknowledged),
            refused: of(&figures.refused),
            fenced: of(&figures.fenced),
            unavailable: of(&figures.unavailable),
            unknown: of(&figures.unknown),
            time: Duration::from_micros(of(&figures.micros)),
        }
    }

    /// The time of the last answer of the log; `None` before the first.
    pub(crate) fn last_answer(&self) -> Option<SystemTime> {
        match self.figures.answered.load(Ordering::Relaxed) {
            0 => None,
            ms => UNIX_EPOCH.checked_add(Duration::from_millis(ms)),
        }
    }

    /// See [`CommitLog::open`].
    pub(crate) fn open(&self) -> Result<(), LogError> {
        self.log.open()?;
        self.figures.answered();
        Ok(())
    }

    /// See [`CommitLog::append`].
    pub(crate) fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let begun = Instant::now();
        let appended = self.append_within_limit(after, text);
        let figures = &self.figures;
        let counter = match &appended {
            Ok(()) => {
                let micros = whole(begun.elapsed().as_micros());
                figures.micros.fetch_add(micros, Ordering::Relaxed);
                &figures.acknowledged
            }
            Err(AppendError::Refused(_)) => &figures.refused,
            Err(AppendError::Fenced) => &figures.fenced,
            Err(AppendError::Unavailable(_)) => &figures.unavailable,
            Err(AppendError::Unknown(_)) => &figures.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(appended, Ok(()) | Err(AppendError::Fenced)) {
            figures.answered();
        }
        appended
    }

    /// See [`CommitLog::read`].
    pub(crate) fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let read = self.log.read(from, max_bytes);
        if read.is_ok() {
            self.figures.answered();
        }
        read
    }

    fn append_within_limit(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let (bytes, most) = (text.len(), self.log.max_entry_bytes());
        if bytes > most {
            let log = self.log.describe();
            return Err(AppendError::Refused(format!(
                "it has {bytes} bytes, and {log} takes at most {most} bytes at once"
            )));
        }
        self.log.append(after, text)
    }
}

impl Figures {
    fn answered(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let ms = since.map_or(0, |since| whole(since.as_millis()));
        self.answered.store(ms, Ordering::Relaxed);
    }
}

/// A time as a number, for longer than any program runs.
fn whole(time: u128) -> u64 {
    u64::try_from(time).unwrap_or(u64::MAX)
}

/// The other calls go to the log as they are.
impl Deref for Measured {
    type Target = dyn CommitLog;

    fn deref(&self) -> &Self::Target {
        &*self.log
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::{LostAnswer, SharedLog};

    #[test]
    fn each_answer_of_an_append_counts_once() {
        let log = SharedLog::with_max_entry_bytes(10);
        let measured = Measured::new(log.clone());
        assert_eq!(measured.last_answer(), None);
        let append = |after: u64, text: &str| measured.append(after, text.into());
        assert!(append(0, "one\n").is_ok());
        assert!(append(1, "two\n").is_ok());
        assert!(measured.last_answer().is_some());
        assert!(matches!(
            append(2, "a long text\n"),
            Err(AppendError::Refused(reason)) if reason.contains("takes at most 10 bytes")
        ));
        assert_eq!(append(0, "late\n"), Err(AppendError::Fenced));
        log.lose_next_answer(LostAnswer::Dropped);
        assert!(matches!(append(2, "lost\n"), Err(AppendError::Unknown(_))));
        log.cut_off();
        for _ in 0..3 {
            let unavailable = append(2, "three\n");
            assert!(matches!(unavailable, Err(AppendError::Unavailable(_))));
        }
        let Appends {
            acknowledged,
            refused,
            fenced,
            unavailable,
            unknown,
            time,
        } = measured.appends();
        let counted = [acknowledged, refused, fenced, unavailable, unknown];
        assert_eq!(counted, [2, 1, 1, 3, 1]);
        assert!(time < Duration::from_secs(60));
    }
}
