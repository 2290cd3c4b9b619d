//! The rules of [`CommitLog`], as a test of a log of your own.
//!
//! # Examples
//!
//! ```
//! use eventfold_es::testing::conformance::{self, BrokenRule};
//! # use std::collections::HashMap;
//! # use std::sync::Mutex;
//! # use eventfold_es::testing::SharedLog;
//! # struct MyServer(Mutex<HashMap<String, SharedLog>>);
//! # impl MyServer {
//! #     fn start() -> Self { Self(Mutex::default()) }
//! #     fn log(&self, name: &str) -> SharedLog { self.0.lock().unwrap().entry(name.to_owned()).or_default().handle() }
//! # }
//!
//! # /*
//! #[test]
//! # */
//! fn my_log_keeps_the_rules() -> Result<(), BrokenRule> {
//!     let server = MyServer::start();
//!     conformance::check(|name| server.log(name))
//! }
//! # my_log_keeps_the_rules().unwrap();
//! ```

mod entries;
mod messages;
mod patient;
mod races;
mod signals;
#[cfg(test)]
mod tests;

use std::fmt;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use self::patient::{Budget, Patient};
use crate::replication::{AppendError, CommitLog, Entry, LogError};

/// The time that a log has for something that happens soon.
const PATIENCE: Duration = Duration::from_secs(60);
/// The handles on one log.
const NODES: usize = 4;
const PAGE: usize = 256 * 1024;

/// A rule of [`CommitLog`] that a log breaks. Its text has the rule and the observation.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokenRule {
    rule: &'static str,
    seen: String,
}

impl BrokenRule {
    /// The rule, as a sentence.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.rule
    }

    /// The observation that contradicts the rule.
    #[must_use]
    pub fn seen(&self) -> &str {
        &self.seen
    }
}

impl fmt::Display for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, seen } = self;
        write!(
            f,
            "the log breaks a rule of `CommitLog`: {rule} Seen: {seen}"
        )
    }
}

/// As [`Display`](fmt::Display), for a test that returns it and for `unwrap`.
impl fmt::Debug for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for BrokenRule {}

/// Checks that a log keeps the rules of [`CommitLog`], and returns the first rule that it breaks.
///
/// `node` creates a handle on the log of a name, as another node has it. It is called several times for each of several names.
/// Names are new in each call of `check`, so that a server may be used again. They have up to 100 bytes of lower-case letters, digits and
/// hyphens. The logs stay on the server.
///
/// The check appends about 700 entries, five of them with [`max_entry_bytes`](CommitLog::max_entry_bytes) bytes or more. It
/// needs healthy servers: it repeats up to 30 calls that are not answered, and the next one is a broken rule. Test failures of the
/// servers yourself.
///
/// A log without a [`messenger`](CommitLog::messenger) keeps the rules of questions.
///
/// It blocks: call it in a `#[test]`, not in a `#[tokio::test]`.
///
/// # Errors
///
/// [`BrokenRule`]
///
/// # Panics
///
/// If a method of the log panics.
pub fn check<L: CommitLog>(node: impl Fn(&str) -> L) -> Result<(), BrokenRule> {
    let suite = Suite {
        node: &node,
        run: run_id(),
        patience: PATIENCE,
        budget: Budget::new(),
    };
    for (rule, keeps) in rules() {
        keeps(&suite).map_err(|seen| BrokenRule { rule, seen })?;
    }
    Ok(())
}

/// A rule, and its check. An error is the observation that contradicts it.
type Rule<L> = (&'static str, fn(&Suite<'_, L>) -> Result<(), String>);

fn rules<L: CommitLog>() -> Vec<Rule<L>> {
    [
        entries::rules(),
        races::rules(),
        signals::rules(),
        messages::rules(),
    ]
    .concat()
}

/// The logs of one call of [`check`].
struct Suite<'a, L> {
    node: &'a dyn Fn(&str) -> L,
    /// Makes the names new.
    run: String,
    patience: Duration,
    budget: Budget,
}

impl<L: CommitLog> Suite<'_, L> {
    fn name(&self, log: &str) -> String {
        format!("conformance-{}-{log}", self.run)
    }

    /// A handle that is not open.
    fn node(&self, log: &str) -> Patient<L> {
        Patient::new((self.node)(&self.name(log)), self.budget.clone())
    }

    fn open(&self, log: &str) -> Result<Patient<L>, String> {
        let node = self.node(log);
        said("open", node.open())?;
        Ok(node)
    }

    /// Several handles on one log.
    fn nodes(&self, log: &str) -> Result<Vec<Patient<L>>, String> {
        (0..NODES).map(|_| self.open(log)).collect()
    }

    /// Waits for a condition. Returns whether it came true.
    fn wait_for(&self, mut is_true: impl FnMut() -> bool) -> bool {
        let begun = Instant::now();
        while !is_true() {
            if begun.elapsed() > self.patience {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

/// A part of a name that no other call of this process or of another one has.
fn run_id() -> String {
    let mut id = [0; 8];
    match getrandom::fill(&mut id) {
        Ok(()) => format!("{:016x}", u64::from_ne_bytes(id)),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            format!(
                "{}-{}",
                std::process::id(),
                now.unwrap_or_default().as_nanos()
            )
        }
    }
}

/// The answer to a call that has no reason to fail.
fn said<T>(call: &str, answer: Result<T, LogError>) -> Result<T, String> {
    answer.map_err(|error| format!("`{call}` was answered {error:?}."))
}

/// Appends an entry that the log has to take.
fn append(log: &impl CommitLog, after: u64, text: &str) -> Result<(), String> {
    log.append(after, text.into()).map_err(|error| {
        format!("`append({after}, ..)` was answered {error:?}, and {after} was the last entry.")
    })
}

/// Appends an entry that the fence has to refuse.
fn append_fenced(log: &impl CommitLog, after: u64, text: &str, last: u64) -> Result<(), String> {
    match log.append(after, text.into()) {
        Err(AppendError::Fenced) => Ok(()),
        other => Err(format!(
            "`append({after}, ..)` was answered {other:?}, and {last} was the last entry."
        )),
    }
}

/// One page, with contiguous numbers.
fn read(log: &impl CommitLog, from: u64, max_bytes: usize) -> Result<Vec<Entry>, String> {
    let call = format!("read({from}, {max_bytes})");
    let entries = said(&call, log.read(from, max_bytes))?;
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
    match numbers.iter().copied().eq((from..).take(numbers.len())) {
        true => Ok(entries),
        false => Err(format!(
            "`{call}` returned entries with the numbers {numbers:?}."
        )),
    }
}

/// The texts of all entries from a number on.
fn read_all(log: &impl CommitLog, mut from: u64) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    loop {
        let page = read(log, from, PAGE)?;
        if page.is_empty() {
            return Ok(entries);
        }
        from += page.len() as u64;
        entries.extend(page);
    }
}

/// The log has these texts, and no others.
fn has<T: AsRef<str>>(log: &impl CommitLog, texts: &[T]) -> Result<(), String> {
    let entries = read_all(log, 1)?;
    let different = entries
        .iter()
        .zip(texts)
        .find(|(entry, text)| *entry.text != *text.as_ref());
    if let Some((entry, text)) = different {
        let (number, text) = (entry.number, text.as_ref());
        return Err(format!(
            "Entry {number} was appended as {}, and is read as {}.",
            short(text),
            short(&entry.text)
        ));
    }
    match entries.len() == texts.len() {
        true => Ok(()),
        false => Err(format!(
            "{} entries were acknowledged, and {} are read.",
            texts.len(),
            entries.len()
        )),
    }
}

/// A text for a message.
fn short(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.chars().count() > LENGTH {
        true => format!(
            "{:?}.. ({} bytes)",
            text.chars().take(LENGTH).collect::<String>(),
            text.len()
        ),
        false => format!("{text:?} ({} bytes)", text.len()),
    }
}

/// The result of a thread; its panic is that of the caller.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
