//! A replicated log in memory.

mod messenger;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};

pub use messenger::LostMessage;
use messenger::{Late, Served};

use crate::replication::{AppendError, CommitLog, Entry, LogError, Messenger};

/// The default of [`SharedLog::max_entry_bytes`].
const MAX_ENTRY_BYTES: usize = 1024 * 1024;
/// The signals that a receiver may leave unread.
const SIGNALS: usize = 1024;
/// The time after which a paused append fails, for a test that has ended.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// A replicated log in memory, for the tests of stores with several nodes. It fails on request.
///
/// Each node of a test has a handle of its own: [`new`](Self::new) creates a log with its first handle, and
/// [`handle`](Self::handle) is another handle on the same log. A clone is the same handle: give one to the store, and keep one
/// to disturb that node.
///
/// # Examples
///
/// ```
/// use eventfold_es::replication::{AppendError, CommitLog};
/// use eventfold_es::testing::{LostAnswer, SharedLog};
///
/// let first = SharedLog::new();
/// let second = first.handle();
/// first.append(0, "from the first node\n".into())?;
/// assert_eq!(second.append(0, "too late\n".into()), Err(AppendError::Fenced));
///
/// second.lose_next_answer(LostAnswer::Stored);
/// let unknown = second.append(1, "from the second node\n".into());
/// assert!(matches!(unknown, Err(AppendError::Unknown(_))));
/// assert_eq!(first.texts(), ["from the first node\n", "from the second node\n"]);
/// # Ok::<(), AppendError>(())
/// ```
#[derive(Clone)]
pub struct SharedLog {
    log: Arc<Mutex<Log>>,
    node: Arc<Node>,
}

/// The entries, and the handles that hear of them.
#[derive(Default)]
struct Log {
    entries: Vec<Arc<str>>,
    /// Appends on their way, each with the entry that it follows.
    on_their_way: Vec<(u64, Arc<str>)>,
    /// Questions on their way.
    late: Vec<Late>,
    nodes: Vec<Weak<Node>>,
}

struct Node {
    max_entry_bytes: usize,
    last: watch::Sender<u64>,
    signals: broadcast::Sender<String>,
    /// The receivers of questions, by their node.
    served: Mutex<Vec<Served>>,
    faults: Mutex<Faults>,
    changed: Condvar,
}

#[derive(Default)]
struct Faults {
    is_cut_off: bool,
    is_cut_off_after_next: bool,
    next_answer: Option<LostAnswer>,
    next_message: Option<LostMessage>,
    /// The last entry that a handle sees that has fallen behind.
    sees_up_to: Option<u64>,
    is_paused: bool,
    /// Whether an append waits for the end of the pause.
    is_waiting: bool,
}

/// The fate of an append whose answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostAnswer {
    /// The log stores the entry, if the fence lets it.
    Stored,
    /// The log never receives the entry.
    Dropped,
    /// The log receives the entry with [`SharedLog::deliver`].
    Delayed,
}

impl SharedLog {
    /// An empty log, with its first handle. An entry has up to 1 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_entry_bytes(MAX_ENTRY_BYTES)
    }

    /// An empty log, with its first handle and another limit of an entry.
    #[must_use]
    pub fn with_max_entry_bytes(max_entry_bytes: usize) -> Self {
        Self::on(Arc::default(), max_entry_bytes)
    }

    /// Another handle on this log, as another node has it.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self::on(Arc::clone(&self.log), self.node.max_entry_bytes)
    }

    fn on(log: Arc<Mutex<Log>>, max_entry_bytes: usize) -> Self {
        let mut locked = lock(&log);
        let node = Arc::new(Node {
            max_entry_bytes,
            last: watch::Sender::new(locked.last()),
            signals: broadcast::Sender::new(SIGNALS),
            served: Mutex::default(),
            faults: Mutex::default(),
            changed: Condvar::new(),
        });
        locked.nodes.push(Arc::downgrade(&node));
        drop(locked);
        Self { log, node }
    }

    /// The texts of all entries.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let log = lock(&self.log);
        log.entries.iter().map(|text| text.to_string()).collect()
    }

    /// Cuts this handle off: its calls are answered [`Unavailable`](AppendError::Unavailable), and it hears of no entries
    /// and no signals.
    pub fn cut_off(&self) {
        lock(&self.node.faults).is_cut_off = true;
    }

    /// Ends [`cut_off`](Self::cut_off). The signals of the meantime are lost.
    pub fn reconnect(&self) {
        let log = lock(&self.log);
        lock(&self.node.faults).is_cut_off = false;
        self.node.hear_of(log.last());
    }

    /// Cuts this handle off after its next append.
    pub fn cut_off_after_next(&self) {
        lock(&self.node.faults).is_cut_off_after_next = true;
    }

    /// From now on, this handle sees no further entries. Signals and questions arrive as before.
    pub fn fall_behind(&self) {
        let log = lock(&self.log);
        lock(&self.node.faults).sees_up_to = Some(log.last());
    }

    /// Ends [`fall_behind`](Self::fall_behind).
    pub fn catch_up(&self) {
        let log = lock(&self.log);
        lock(&self.node.faults).sees_up_to = None;
        self.node.hear_of(log.last());
    }

    /// The next append of this handle is answered [`Unknown`](AppendError::Unknown).
    pub fn lose_next_answer(&self, answer: LostAnswer) {
        lock(&self.node.faults).next_answer = Some(answer);
    }

    /// The appends under way reach the log, in their order, those of all handles. An append that no longer follows the last
    /// entry is refused by the fence, as it would be from a node. Returns the number of entries that were stored.
    pub fn deliver(&self) -> usize {
        let mut log = lock(&self.log);
        let appends = std::mem::take(&mut log.on_their_way);
        let stored = appends
            .into_iter()
            .filter(|(after, text)| log.append(*after, text).is_ok());
        stored.count()
    }

    /// From now on, an append of this handle waits before it reaches the log, until [`release`](Self::release). After 2 minutes it
    /// is answered [`Unavailable`](AppendError::Unavailable).
    pub fn pause(&self) {
        lock(&self.node.faults).is_paused = true;
    }

    /// Whether an append of this handle waits.
    #[must_use]
    pub fn has_paused_append(&self) -> bool {
        lock(&self.node.faults).is_waiting
    }

    /// Ends [`pause`](Self::pause).
    pub fn release(&self) {
        lock(&self.node.faults).is_paused = false;
        self.node.changed.notify_all();
    }

    /// Removes the entries after the number `last`, as a server does that is restored from an older copy.
    pub fn forget_after(&self, last: u64) {
        let mut log = lock(&self.log);
        log.entries
            .truncate(usize::try_from(last).unwrap_or(usize::MAX));
        log.tell();
    }
}

impl Default for SharedLog {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SharedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLog")
            .field("entries", &lock(&self.log).entries.len())
            .finish_non_exhaustive()
    }
}

impl Log {
    fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    fn append(&mut self, after: u64, text: &Arc<str>) -> Result<(), AppendError> {
        if self.last() != after {
            return Err(AppendError::Fenced);
        }
        self.entries.push(Arc::clone(text));
        self.tell();
        Ok(())
    }

    /// The nodes that are there, without those of dropped handles.
    fn nodes(&mut self) -> Vec<Arc<Node>> {
        self.nodes.retain(|node| node.strong_count() > 0);
        self.nodes.iter().filter_map(Weak::upgrade).collect()
    }

    fn tell(&mut self) {
        let last = self.last();
        for node in self.nodes() {
            if node.check_connection().is_ok() {
                node.hear_of(last);
            }
        }
    }
}

impl Node {
    fn check_connection(&self) -> Result<(), String> {
        match lock(&self.faults).is_cut_off {
            true => Err("the node is cut off".to_owned()),
            false => Ok(()),
        }
    }

    fn hear_of(&self, last: u64) {
        let last = last.min(self.sees_up_to());
        self.last.send_if_modified(|known| {
            let is_other = *known != last;
            *known = last;
            is_other
        });
    }

    /// The last entry that this handle sees.
    fn sees_up_to(&self) -> u64 {
        lock(&self.faults).sees_up_to.unwrap_or(u64::MAX)
    }

    /// Waits for the end of a pause. Returns the fate of the answer, if the answer is lost.
    fn pass(&self) -> Result<Option<LostAnswer>, AppendError> {
        let until = Instant::now() + LONGEST_PAUSE;
        let mut faults = lock(&self.faults);
        while faults.is_paused {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                faults.is_waiting = false;
                return Err(AppendError::Unavailable(
                    "the append was paused for too long".to_owned(),
                ));
            }
            faults.is_waiting = true;
            let waited = self.changed.wait_timeout(faults, left);
            faults = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        faults.is_waiting = false;
        Ok(faults.next_answer.take())
    }
}

impl CommitLog for SharedLog {
    fn describe(&self) -> String {
        "the log in memory".to_owned()
    }

    fn open(&self) -> Result<(), LogError> {
        self.node.check_connection().map_err(LogError::Unavailable)
    }

    fn max_entry_bytes(&self) -> usize {
        self.node.max_entry_bytes
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let limit = self.node.max_entry_bytes;
        if text.len() > limit {
            let bytes = text.len();
            return Err(AppendError::Refused(format!(
                "it has {bytes} bytes, and {limit} is the maximum"
            )));
        }
        let check = || {
            self.node
                .check_connection()
                .map_err(AppendError::Unavailable)
        };
        check()?;
        let lost = self.node.pass()?;
        check()?;
        let _cut = CutAfter(&self.node);
        let mut log = lock(&self.log);
        match lost {
            None => return log.append(after, &text),
            // The answer is lost, also that of the fence.
            Some(LostAnswer::Stored) => drop(log.append(after, &text)),
            Some(LostAnswer::Dropped) => {}
            Some(LostAnswer::Delayed) => log.on_their_way.push((after, text)),
        }
        Err(AppendError::Unknown("the answer is lost".to_owned()))
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.node
            .check_connection()
            .map_err(LogError::Unavailable)?;
        let log = lock(&self.log);
        let skipped = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        let last = self.node.sees_up_to();
        let mut bytes = 0;
        let entries = (1..).zip(&log.entries).skip(skipped);
        let page = entries.take_while(|(number, text)| {
            let is_first = bytes == 0;
            bytes += text.len();
            *number <= last && (is_first || bytes <= max_bytes)
        });
        let entry = |(number, text): (u64, &Arc<str>)| Entry {
            number,
            text: Arc::clone(text),
        };
        Ok(page.map(entry).collect())
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.node.last.subscribe()
    }

    fn signal(&self, message: String) {
        if self.node.check_connection().is_err() {
            return;
        }
        for node in lock(&self.log).nodes() {
            if node.check_connection().is_ok() {
                // Nobody may listen.
                let _ = node.signals.send(message.clone());
            }
        }
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        self.node.signals.subscribe()
    }

    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        Some(Arc::new(self.clone()))
    }
}

/// Cuts a handle off when an append ends, if that was asked for.
struct CutAfter<'a>(&'a Node);

impl Drop for CutAfter<'_> {
    fn drop(&mut self) {
        let mut faults = lock(&self.0.faults);
        if std::mem::take(&mut faults.is_cut_off_after_next) {
            faults.is_cut_off = true;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_handle_that_is_cut_off_hears_nothing_until_it_reconnects() {
        let one = SharedLog::new();
        let other = one.handle();
        let (last, mut signals) = (other.follow(), other.signals());
        other.cut_off();
        one.append(0, "a\n".into()).unwrap();
        one.signal("hello".to_owned());
        assert_eq!(*last.borrow(), 0);
        assert!(signals.try_recv().is_err());
        assert!(matches!(other.open(), Err(LogError::Unavailable(_))));
        assert!(matches!(other.read(1, 100), Err(LogError::Unavailable(_))));
        assert!(matches!(
            other.append(1, "b\n".into()),
            Err(AppendError::Unavailable(_))
        ));
        other.signal("of nobody".to_owned());
        other.reconnect();
        assert_eq!(*last.borrow(), 1);
        assert_eq!(other.read(1, 100).unwrap().len(), 1);
        other.signal("back".to_owned());
        assert_eq!(signals.try_recv().unwrap(), "back");
    }

    #[test]
    fn an_unknown_append_is_stored_or_dropped_or_late() {
        let log = SharedLog::new();
        let unknown = |answer, after, text: &str| {
            log.lose_next_answer(answer);
            let appended = log.append(after, text.into());
            assert!(
                matches!(appended, Err(AppendError::Unknown(_))),
                "{appended:?}"
            );
        };
        unknown(LostAnswer::Dropped, 0, "dropped\n");
        assert_eq!(log.texts().len(), 0);
        unknown(LostAnswer::Stored, 0, "stored\n");
        unknown(LostAnswer::Delayed, 1, "late\n");
        unknown(LostAnswer::Delayed, 1, "too late\n");
        assert_eq!(log.texts().len(), 1);
        assert_eq!(log.deliver(), 1);
        assert_eq!(log.deliver(), 0);
        assert_eq!(log.texts(), ["stored\n", "late\n"]);
        log.append(2, "next\n".into()).unwrap();
    }

    #[test]
    fn a_paused_append_meets_the_fence_when_it_is_released() {
        let paused = SharedLog::new();
        let other = paused.handle();
        paused.pause();
        let appends = thread::spawn({
            let paused = paused.clone();
            move || paused.append(0, "paused\n".into())
        });
        while !paused.has_paused_append() {
            thread::yield_now();
        }
        other.append(0, "other\n".into()).unwrap();
        paused.release();
        assert_eq!(appends.join().unwrap(), Err(AppendError::Fenced));
        assert!(!paused.has_paused_append());
        paused.append(1, "next\n".into()).unwrap();
    }

    #[test]
    fn a_handle_that_has_fallen_behind_sees_no_further_entries() {
        let (one, other) = {
            let one = SharedLog::new();
            (one.clone(), one.handle())
        };
        one.append(0, "a\n".into()).unwrap();
        let last = other.follow();
        other.fall_behind();
        one.append(1, "b\n".into()).unwrap();
        assert_eq!((*last.borrow(), other.read(1, 100).unwrap().len()), (1, 1));
        assert_eq!(other.append(1, "c\n".into()), Err(AppendError::Fenced));
        other.catch_up();
        assert_eq!((*last.borrow(), other.read(1, 100).unwrap().len()), (2, 2));
    }

    #[test]
    fn an_older_copy_has_fewer_entries() {
        let log = SharedLog::new();
        for after in 0..5 {
            log.append(after, "x\n".into()).unwrap();
        }
        let last = log.follow();
        log.forget_after(3);
        assert_eq!(*last.borrow(), 3);
        assert_eq!(log.append(5, "y\n".into()), Err(AppendError::Fenced));
        assert_eq!(log.read(4, 100).unwrap(), []);
        log.append(3, "y\n".into()).unwrap();
    }
}
