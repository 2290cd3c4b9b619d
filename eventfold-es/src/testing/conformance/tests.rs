//! Each rule finds a log that breaks it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod messages;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};

use messages::Questions;

use super::patient::Budget;
use super::{PATIENCE, Suite, check, rules, run_id};
use crate::replication::{AppendError, CommitLog, Entry, LogError, Messenger};
use crate::testing::SharedLog;

const LIMIT: usize = 4096;

/// A mistake that a log could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    BeginsWithAnEntry,
    FollowBeginsAtOne,
    CreatedTwice,
    NumbersFromZero,
    SkipsANumber,
    ReadsAreStale,
    TrimsTheEnd,
    MakesOneLine,
    DropsControlCharacters,
    ReplacesUnicode,
    LimitIsOneTooMuch,
    CutsLarger,
    StoresLarger,
    TakesLarger,
    CallsLargerUnavailable,
    ZeroPasses,
    BehindPasses,
    AheadPasses,
    KnowsRepeatedText,
    StoresFenced,
    IgnoresMaxBytes,
    NeedsMaxBytes,
    BeginsOneLater,
    LastEntryAgain,
    ForgetsWithoutHandles,
    CutsNames,
    OneLogForAll,
    TwoWinners,
    AllLose,
    AcknowledgesWithoutStoring,
    StoresTwice,
    StoresLosers,
    ShowsALaterEntryFirst,
    FollowsOwnEntriesOnly,
    FollowsPastTheEnd,
    WakesNobody,
    NewHandleFollowsFromZero,
    NoSignals,
    NoSignalsToItself,
    CutsSignals,
    SignalsToAllLogs,
    KeepsTheLastSignal,
    NeverAnswers,
    AsksAnyNode,
    QuestionsAreTrimmed,
    WaitsForAbsentNodes,
    KeepsClosedNodes,
    SwapsAnswers,
    TakesLargerQuestions,
    LosesLargeQuestions,
    WaitsWithoutLimit,
    AsksAllLogs,
    /// No mistake: a busy server.
    IsBusy,
}

use Mistake::*;

/// Each mistake, and words of the rule that has to find it.
const FOUND_BY: [(Mistake, &str); 53] = [
    (BeginsWithAnEntry, "new log is empty"),
    (FollowBeginsAtOne, "new log is empty"),
    (CreatedTwice, "open a new log at the same time"),
    (NumbersFromZero, "numbers 1, 2, 3"),
    (SkipsANumber, "numbers 1, 2, 3"),
    (ReadsAreStale, "read at once"),
    (TrimsTheEnd, "byte for byte"),
    (MakesOneLine, "byte for byte"),
    (DropsControlCharacters, "byte for byte"),
    (ReplacesUnicode, "byte for byte"),
    (LimitIsOneTooMuch, "may have `max_entry_bytes`"),
    (CutsLarger, "more than `max_entry_bytes`"),
    (StoresLarger, "more than `max_entry_bytes`"),
    (TakesLarger, "more than `max_entry_bytes`"),
    (CallsLargerUnavailable, "more than `max_entry_bytes`"),
    (ZeroPasses, "`Fenced`"),
    (BehindPasses, "`Fenced`"),
    (AheadPasses, "`Fenced`"),
    (KnowsRepeatedText, "`Fenced`"),
    (StoresFenced, "`Fenced`"),
    (IgnoresMaxBytes, "about `max_bytes`"),
    (NeedsMaxBytes, "about `max_bytes`"),
    (BeginsOneLater, "about `max_bytes`"),
    (LastEntryAgain, "behind the last entry"),
    (ForgetsWithoutHandles, "new handle"),
    (CutsNames, "nothing in common"),
    (OneLogForAll, "nothing in common"),
    (TwoWinners, "exactly one succeeds"),
    (AllLose, "exactly one succeeds"),
    (AcknowledgesWithoutStoring, "once, under its number"),
    (StoresTwice, "once, under its number"),
    (StoresLosers, "once, under its number"),
    (ReadsAreStale, "while others append"),
    (ShowsALaterEntryFirst, "while others append"),
    (FollowsOwnEntriesOnly, "`follow`"),
    (FollowsPastTheEnd, "`follow`"),
    (WakesNobody, "`follow`"),
    (NewHandleFollowsFromZero, "`follow`"),
    (NoSignals, "signal reaches every node"),
    (NoSignalsToItself, "signal reaches every node"),
    (CutsSignals, "signal reaches every node"),
    (SignalsToAllLogs, "no other log"),
    (KeepsTheLastSignal, "before `close`"),
    (NeverAnswers, "numbers 1, 2, 3"),
    (AsksAnyNode, "the node of its name"),
    (QuestionsAreTrimmed, "the node of its name"),
    (WaitsForAbsentNodes, "takes no questions"),
    (KeepsClosedNodes, "takes no questions"),
    (SwapsAnswers, "own answers"),
    (TakesLargerQuestions, "`max_message_bytes`"),
    (LosesLargeQuestions, "`max_message_bytes`"),
    (WaitsWithoutLimit, "without an answer"),
    (AsksAllLogs, "no node of another log"),
];

/// The logs of a server with a mistake.
struct Server {
    mistake: Mistake,
    logs: Mutex<HashMap<String, SharedLog>>,
    all_signals: broadcast::Sender<String>,
    all_questions: SharedLog,
    opening: AtomicUsize,
    appends: AtomicU64,
}

impl Server {
    fn new(mistake: Mistake) -> Arc<Self> {
        Arc::new(Self {
            mistake,
            logs: Mutex::default(),
            all_signals: broadcast::Sender::new(1000),
            all_questions: SharedLog::with_max_entry_bytes(LIMIT),
            opening: AtomicUsize::new(0),
            appends: AtomicU64::new(0),
        })
    }

    fn node(self: &Arc<Self>, name: &str) -> Handle {
        let key = match self.mistake {
            CutsNames => name.get(..63).unwrap_or(name),
            OneLogForAll => "all",
            _ => name,
        };
        let log = match self.mistake {
            ForgetsWithoutHandles => {
                let mut logs = self.logs.lock().unwrap();
                let forgotten = SharedLog::with_max_entry_bytes(LIMIT);
                let is_new = !logs.contains_key(key);
                let log = logs.entry(key.to_owned()).or_insert(forgotten.clone());
                if is_new { log.handle() } else { forgotten }
            }
            _ => {
                let mut logs = self.logs.lock().unwrap();
                let log = logs.entry(key.to_owned());
                log.or_insert_with(|| SharedLog::with_max_entry_bytes(LIMIT))
                    .handle()
            }
        };
        Handle {
            server: Arc::clone(self),
            last: match self.mistake {
                NewHandleFollowsFromZero | FollowsOwnEntriesOnly | WakesNobody => {
                    watch::Sender::new(0)
                }
                _ => watch::Sender::new(1),
            },
            seen: AtomicU64::new(0),
            own_signals: broadcast::Sender::new(100),
            kept: Mutex::default(),
            is_slow: name.contains("opened"),
            log,
        }
    }
}

struct Handle {
    server: Arc<Server>,
    log: SharedLog,
    last: watch::Sender<u64>,
    seen: AtomicU64,
    own_signals: broadcast::Sender<String>,
    kept: Mutex<Option<String>>,
    is_slow: bool,
}

impl CommitLog for Handle {
    fn describe(&self) -> String {
        format!("a log with the mistake {:?}", self.server.mistake)
    }

    fn open(&self) -> Result<(), LogError> {
        match self.server.mistake {
            BeginsWithAnEntry => drop(self.log.append(0, "made by open\n".into())),
            CreatedTwice if self.is_slow => {
                let opening = self.server.opening.fetch_add(1, SeqCst);
                if opening > 0 {
                    return Err(LogError::Unusable("the log is there already".to_owned()));
                }
                let begun = Instant::now();
                while self.server.opening.load(SeqCst) < 2 && begun.elapsed() < PATIENCE {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            _ => {}
        }
        self.log.open()
    }

    fn max_entry_bytes(&self) -> usize {
        match self.server.mistake {
            LimitIsOneTooMuch => LIMIT + 1,
            CutsLarger | StoresLarger | TakesLarger => LIMIT / 4,
            _ => LIMIT,
        }
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let is_larger = text.len() > self.max_entry_bytes();
        let count = self.server.appends.fetch_add(1, SeqCst);
        let texts = self.log.texts();
        let last = texts.len() as u64;
        let stores = |after: u64, text: &str| self.log.append(after, text.into());
        match self.server.mistake {
            CutsLarger if is_larger => return stores(after, text.get(..LIMIT / 4).unwrap()),
            StoresLarger if is_larger => {
                drop(stores(after, text.get(..LIMIT).unwrap_or(&text)));
                return Err(AppendError::Refused("too large".to_owned()));
            }
            TakesLarger if is_larger => {}
            _ if is_larger && self.server.mistake == CallsLargerUnavailable => {
                return Err(AppendError::Unavailable(
                    "the server has closed the connection".to_owned(),
                ));
            }
            _ if is_larger => return Err(AppendError::Refused("too large".to_owned())),
            TrimsTheEnd => return stores(after, text.trim_end()),
            MakesOneLine => return stores(after, &text.replace("\r\n", "\n")),
            DropsControlCharacters => {
                return stores(
                    after,
                    &text.replace(
                        |c: char| c.is_control() && c != '\n' && c != '\r' && c != '\t',
                        "",
                    ),
                );
            }
            ReplacesUnicode => return stores(after, &text.replace(|c: char| c > '\u{ffff}', "?")),
            ZeroPasses if after == 0 => return stores(last, &text),
            BehindPasses if after < last => return stores(last, &text),
            AheadPasses if after > last => return stores(last, &text),
            KnowsRepeatedText if texts.last().is_some_and(|known| **known == *text) => {
                return Ok(());
            }
            StoresFenced if after != last => {
                stores(last, &text)?;
                return Err(AppendError::Fenced);
            }
            TwoWinners if after + 1 == last && count.is_multiple_of(7) => return Ok(()),
            AllLose if after == 5 => return Err(AppendError::Fenced),
            AcknowledgesWithoutStoring if after == last && count.is_multiple_of(11) => {
                return Ok(());
            }
            NeverAnswers => {
                drop(stores(after, &text));
                return Err(AppendError::Unknown("no answer".to_owned()));
            }
            IsBusy if count % 200 == 50 => {
                drop(stores(after, &text));
                return Err(AppendError::Unknown("stored".to_owned()));
            }
            IsBusy if count % 200 == 100 => {
                return Err(AppendError::Unknown("not stored".to_owned()));
            }
            IsBusy if count % 200 == 150 => {
                return Err(AppendError::Unavailable("too busy".to_owned()));
            }
            StoresTwice if count.is_multiple_of(11) => {
                stores(after, &text)?;
                drop(stores(after + 1, &text));
                return Ok(());
            }
            StoresLosers => {
                let answer = stores(after, &text);
                if answer.is_err() {
                    drop(stores(self.log.texts().len() as u64, &text));
                }
                return answer;
            }
            _ => {}
        }
        stores(after, &text)?;
        if self.server.mistake == ReadsAreStale {
            self.seen.fetch_max(after + 1, SeqCst);
        }
        if self.server.mistake == FollowsOwnEntriesOnly {
            self.last.send_replace(after + 1);
        }
        Ok(())
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let read = |from, max_bytes| self.log.read(from, max_bytes);
        let last = self.log.texts().len() as u64;
        match self.server.mistake {
            NumbersFromZero => {
                let mut entries = read(from, max_bytes)?;
                entries.iter_mut().for_each(|entry| entry.number -= 1);
                Ok(entries)
            }
            SkipsANumber => {
                let mut entries = read(from, max_bytes)?;
                entries
                    .iter_mut()
                    .filter(|entry| entry.number > 7)
                    .for_each(|entry| entry.number += 1);
                Ok(entries)
            }
            ReadsAreStale => {
                let seen = self.seen.fetch_max(last, SeqCst);
                let mut entries = read(from, max_bytes)?;
                entries.retain(|entry| entry.number <= seen);
                Ok(entries)
            }
            // The commits of two transactions in another order than their numbers.
            ShowsALaterEntryFirst => {
                let mut entries = read(from, max_bytes)?;
                entries
                    .retain(|entry| !entry.number.is_multiple_of(10) || entry.number + 2 <= last);
                Ok(entries)
            }
            IsBusy if self.seen.fetch_add(1, SeqCst) % 1_000 == 999 => {
                Err(LogError::Unavailable("too busy".to_owned()))
            }
            IgnoresMaxBytes => read(from, usize::MAX),
            NeedsMaxBytes => {
                let mut entries = read(from, max_bytes)?;
                entries.retain(|entry| entry.text.len() <= max_bytes);
                Ok(entries)
            }
            BeginsOneLater if from > 1 => read(from + 1, max_bytes),
            LastEntryAgain => read(from.min(last), max_bytes),
            _ => read(from, max_bytes),
        }
    }

    fn follow(&self) -> watch::Receiver<u64> {
        match self.server.mistake {
            FollowBeginsAtOne | FollowsOwnEntriesOnly => self.last.subscribe(),
            FollowsPastTheEnd | WakesNobody | NewHandleFollowsFromZero => {
                let (mistake, mut follow) = (self.server.mistake, self.log.follow());
                let last = self.last.clone();
                let known = *follow.borrow_and_update();
                last.send_replace(if mistake == NewHandleFollowsFromZero {
                    0
                } else {
                    known
                });
                let follows = last.subscribe();
                thread::spawn(move || {
                    // Until the handle is dropped.
                    while let Ok(has_changed) = follow.has_changed() {
                        if has_changed {
                            let known = *follow.borrow_and_update();
                            match mistake {
                                FollowsPastTheEnd => drop(last.send_replace(known + 1)),
                                WakesNobody => drop(last.send_if_modified(|last| {
                                    *last = known;
                                    false
                                })),
                                _ => drop(last.send_replace(known)),
                            }
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                });
                follows
            }
            _ => self.log.follow(),
        }
    }

    fn signal(&self, message: String) {
        match self.server.mistake {
            NoSignals => {}
            KeepsTheLastSignal => {
                let kept = self.kept.lock().unwrap().replace(message);
                kept.into_iter().for_each(|kept| self.log.signal(kept));
            }
            CutsSignals => self
                .log
                .signal(message.get(..200).unwrap_or(&message).to_owned()),
            SignalsToAllLogs => drop(self.server.all_signals.send(message)),
            NoSignalsToItself => {
                // As if the server did not send it back.
                self.log.cut_off();
                self.log.handle().signal(message);
                self.log.reconnect();
            }
            _ => self.log.signal(message),
        }
    }

    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        Some(Arc::new(Questions {
            server: Arc::clone(&self.server),
            log: match self.server.mistake {
                AsksAllLogs => self.server.all_questions.handle(),
                _ => self.log.clone(),
            },
        }))
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        match self.server.mistake {
            SignalsToAllLogs => self.server.all_signals.subscribe(),
            NoSignals => self.own_signals.subscribe(),
            _ => self.log.signals(),
        }
    }
}

#[test]
fn a_log_without_mistakes_keeps_all_rules() {
    for mistake in [None, IsBusy] {
        let server = Server::new(mistake);
        check(|name| server.node(name)).unwrap();
    }
    let logs = Mutex::new(HashMap::<String, SharedLog>::new());
    check(|name| {
        logs.lock()
            .unwrap()
            .entry(name.to_owned())
            .or_default()
            .handle()
    })
    .unwrap();
}

#[test]
fn each_rule_finds_the_mistakes_that_break_it() {
    let rules = rules::<Handle>();
    let mut found = vec![0; rules.len()];
    for (mistake, words) in FOUND_BY {
        let server = Server::new(mistake);
        let node = |name: &str| server.node(name);
        let suite = Suite {
            node: &node,
            run: run_id(),
            patience: Duration::from_millis(300),
            budget: Budget::new(),
        };
        let mut named = rules
            .iter()
            .zip(&mut found)
            .filter(|((rule, _), _)| rule.contains(words));
        let ((rule, keeps), found) = named.next().unwrap();
        assert!(named.next().is_none(), "{words}");
        let seen = keeps(&suite);
        println!("{mistake:?}: {rule} {seen:?}");
        assert!(seen.is_err(), "{mistake:?} is not found by: {rule}");
        *found += 1;
    }
    for ((rule, _), found) in rules.iter().zip(found) {
        assert!(found > 0, "no mistake breaks the rule: {rule}");
    }
}

#[test]
fn the_message_has_the_rule_and_the_observation() {
    let server = Server::new(SkipsANumber);
    let broken = check(|name| server.node(name)).unwrap_err();
    assert_eq!(
        format!("{broken:?}"),
        "the log breaks a rule of `CommitLog`: The entries have the numbers 1, 2, 3 and so on, without a gap. Seen: \
         `read(1, 262144)` returned entries with the numbers [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, \
         20, 21]."
    );
}
