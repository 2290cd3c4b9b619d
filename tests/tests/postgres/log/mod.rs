//! The replicated log in PostgreSQL.

mod faults;
mod standby;
mod wrong;

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventfold_es::postgres::fallible_iterator::FallibleIterator as _;
use eventfold_es::postgres::{Client, NoTls};
use eventfold_es::replication::{AppendError, CommitLog, LogError, PostgresLog};
use eventfold_es::testing::conformance::{self, BrokenRule};

use crate::server::durable;

/// For something that happens soon, on a slow machine.
const SOON: Duration = Duration::from_secs(120);

#[test]
fn it_keeps_the_rules() -> Result<(), BrokenRule> {
    let url = durable().database();
    conformance::check(|name| PostgresLog::connect(&url, name))
}

/// A handle that is open.
fn open(url: &str) -> PostgresLog {
    let log = PostgresLog::connect(url, "shop");
    repeat("`open`", || match log.open() {
        Err(LogError::Unavailable(_)) => None,
        opened => {
            opened.unwrap();
            Some(())
        }
    });
    log
}

/// The texts of all entries.
fn texts(log: &PostgresLog) -> Vec<Arc<str>> {
    let mut texts = Vec::new();
    loop {
        let page = repeat("`read`", || {
            match log.read(texts.len() as u64 + 1, 100_000) {
                Err(LogError::Unavailable(_)) => None,
                page => Some(page.unwrap()),
            }
        });
        if page.is_empty() {
            return texts;
        }
        texts.extend(page.into_iter().map(|entry| entry.text));
    }
}

fn number_of_entries(log: &PostgresLog) -> u64 {
    texts(log).len() as u64
}

fn append(log: &PostgresLog, after: u64) -> Result<(), AppendError> {
    log.append(after, text(after + 1).into())
}

fn text(number: u64) -> String {
    format!("entry {number}\n")
}

/// Appends until the outcome is known: a busy server exceeds the time-outs. Returns whether the entry is stored, not fenced.
fn is_appended(log: &PostgresLog, after: u64) -> bool {
    repeat("an outcome", || match append(log, after) {
        Ok(()) => Some(true),
        Err(AppendError::Fenced) => {
            let found = texts(log);
            let found = found.get(after as usize);
            Some(found.is_some_and(|found| **found == *text(after + 1)))
        }
        Err(AppendError::Unknown(_) | AppendError::Unavailable(_)) => None,
        Err(other) => panic!("{other}"),
    })
}

fn must_append(log: &PostgresLog, after: u64) {
    assert!(is_appended(log, after), "entry {} is fenced", after + 1);
}

fn repeat<T>(what: &str, mut call: impl FnMut() -> Option<T>) -> T {
    let mut answer = None;
    wait_for(what, || {
        answer = call();
        answer.is_some()
    });
    answer.unwrap()
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < SOON, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_table_is_created_by_many_nodes_at_once() {
    for _ in 0..5 {
        let url = durable().database();
        std::thread::scope(|scope| {
            let opens: Vec<_> = (0..8).map(|_| scope.spawn(|| drop(open(&url)))).collect();
            opens.into_iter().for_each(|open| open.join().unwrap());
        });
    }
}

/// A store drops its log wherever its last handle is dropped, and a thread of tokio may call it.
#[tokio::test]
async fn it_is_called_and_dropped_on_a_thread_of_tokio() {
    let url = durable().database();
    let log = open(&url);
    must_append(&log, 0);
    assert_eq!(texts(&log).len(), 1);
    drop(log);
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'eventfold-es' AND datname = current_database()";
    std::thread::spawn(move || {
        let mut client = Client::connect(&url, NoTls).unwrap();
        wait_for("the end of the connections", || {
            client.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0
        });
    })
    .join()
    .unwrap();
}

#[test]
fn a_signal_that_is_too_long_is_lost_alone() {
    let log = open(&durable().database());
    let mut signals = log.signals();
    wait_for("the signal after it", || {
        log.signal("x".repeat(8_000));
        log.signal("it's \"short\"".to_owned());
        std::thread::sleep(Duration::from_millis(10));
        signals.try_recv().is_ok_and(|message| {
            assert_eq!(message, "it's \"short\"");
            true
        })
    });
}

/// By a notice, and without it by polling: a node may end between its append and its notice.
#[test]
fn entries_are_announced_and_found() {
    let url = durable().database();
    let log = open(&url);
    let mut client = Client::connect(&url, NoTls).unwrap();
    let table: u32 = client
        .query_one("SELECT 'eventfold_log'::regclass::oid", &[])
        .unwrap()
        .get(0);
    client
        .batch_execute(&format!("LISTEN \"eventfold_{table}_shop\""))
        .unwrap();
    for after in 0.. {
        must_append(&log, after);
        let notice = client
            .notifications()
            .timeout_iter(Duration::from_millis(500))
            .next()
            .unwrap();
        if let Some(notice) = notice {
            assert_eq!(notice.payload(), format!("e{}", after + 1));
            break;
        }
        // The first ones may come before the node listens.
        assert!(after < 100, "no notice");
    }
    let last = number_of_entries(&log);
    let follows = log.follow();
    client
        .execute(
            "INSERT INTO eventfold_log VALUES ('shop', $1, 'by hand')",
            &[&(last as i64 + 1)],
        )
        .unwrap();
    wait_for("the entry without a notice", || {
        *follows.borrow() == last + 1
    });
}
