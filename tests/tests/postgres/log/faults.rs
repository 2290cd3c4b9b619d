//! Servers that are killed, suspended, and restored from older copies.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use eventfold_es::replication::{AppendError, CommitLog, LogError};

use super::{append, is_appended, must_append, number_of_entries, open, texts, wait_for};
use crate::server::{Kill, Server};

const KILLS: usize = 6;

#[test]
fn the_server_is_killed() {
    let mut server = Server::start(true);
    let url = server.database();
    let acknowledged = Mutex::new(HashMap::new());
    let refused = Mutex::new(Vec::new());
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for node in 0..3 {
            let (url, acknowledged, refused, has_ended) =
                (&url, &acknowledged, &refused, &has_ended);
            scope.spawn(move || {
                let log = open(url);
                let (mut last, mut tries) = (0, 0);
                while !has_ended.load(Ordering::SeqCst) {
                    tries += 1;
                    let text = format!("node {node} try {tries}\n");
                    match log.append(last, text.as_str().into()) {
                        Ok(()) => drop(acknowledged.lock().unwrap().insert(last + 1, text)),
                        Err(AppendError::Unknown(_)) => {}
                        Err(AppendError::Fenced) => refused.lock().unwrap().push(text),
                        Err(AppendError::Unavailable(_)) => {
                            refused.lock().unwrap().push(text);
                            thread::sleep(Duration::from_millis(20));
                        }
                        Err(other) => panic!("{other}"),
                    }
                    if let Ok(entries) = log.read(last + 1, 100_000) {
                        last += entries.len() as u64;
                    }
                }
            });
        }
        for kill in [Kill::All, Kill::Connection, Kill::Postmaster]
            .into_iter()
            .cycle()
            .take(KILLS)
        {
            let before = acknowledged.lock().unwrap().len();
            wait_for("more entries", || {
                acknowledged.lock().unwrap().len() > before + 20
            });
            server.kill_and_resume(kill);
        }
        let before = acknowledged.lock().unwrap().len();
        wait_for("more entries", || {
            acknowledged.lock().unwrap().len() > before + 20
        });
        has_ended.store(true, Ordering::SeqCst);
    });
    let texts = texts(&open(&url));
    for (number, text) in acknowledged.into_inner().unwrap() {
        assert_eq!(&*texts[number as usize - 1], text, "entry {number}");
        let count = texts.iter().filter(|found| ***found == *text).count();
        assert_eq!(count, 1, "{text}");
    }
    for text in refused.into_inner().unwrap() {
        assert!(
            !texts.iter().any(|found| **found == *text),
            "{text} was refused, and is there"
        );
    }
}

/// An idle connection that the server has closed costs no append.
#[test]
fn a_restart_between_two_appends_is_not_noticed() {
    let mut server = Server::start(true);
    let log = open(&server.database());
    must_append(&log, 0);
    server.stop();
    server.resume();
    if let Err(AppendError::Unknown(reason)) = append(&log, 1) {
        assert!(!reason.contains("connection closed"), "{reason}");
    }
    must_append(&log, 1);
    server.stop();
    wait_for("an append that is refused", || {
        matches!(append(&log, 2), Err(AppendError::Unavailable(_)))
    });
    assert!(matches!(log.read(1, 100), Err(LogError::Unavailable(_))));
    server.resume();
    must_append(&log, 2);
    assert_eq!(number_of_entries(&log), 3);
    let (follows, mut signals) = (log.follow(), log.signals());
    wait_for("signals", || {
        log.signal("again".to_owned());
        signals.try_recv().is_ok()
    });
    assert_eq!(*follows.borrow(), 3);
}

#[test]
fn a_server_that_is_suspended_leaves_the_outcome_open() {
    let server = Server::start(true);
    let url = server.database();
    let (log, other) = (open(&url), open(&url));
    must_append(&log, 0);
    assert_eq!(number_of_entries(&log), 1);
    server.suspend();
    let (appended, read) = (append(&log, 1), log.read(1, 100));
    // Without a connection, nothing has been sent.
    let again = append(&log, 1);
    server.wake();
    assert!(
        matches!(appended, Err(AppendError::Unknown(_))),
        "{appended:?}"
    );
    assert!(matches!(read, Err(LogError::Unavailable(_))), "{read:?}");
    assert!(
        matches!(again, Err(AppendError::Unavailable(_))),
        "{again:?}"
    );
    // It was on its way.
    wait_for("the entry", || {
        other.read(2, 100).is_ok_and(|page| page.len() == 1)
    });
    wait_for("the fence", || {
        append(&other, 1) == Err(AppendError::Fenced)
    });
    must_append(&log, 2);
    assert_eq!(number_of_entries(&other), 3);
}

#[test]
fn an_older_copy_is_fenced_and_gets_no_gap() {
    let mut server = Server::start(true);
    let url = server.database();
    let log = open(&url);
    for after in 0..5 {
        must_append(&log, after);
    }
    server.stop();
    server.copy();
    server.resume();
    for after in 5..10 {
        must_append(&log, after);
    }
    let follows = log.follow();
    assert_eq!(*follows.borrow(), 10);
    server.stop();
    server.restore();
    server.resume();
    wait_for("an answer", || log.read(1, 100).is_ok());
    for after in [10, 9, 6] {
        assert!(!is_appended(&log, after));
    }
    assert_eq!(number_of_entries(&log), 5);
    wait_for("the last entry of the copy", || *follows.borrow() == 5);
    must_append(&log, 5);
    assert_eq!(number_of_entries(&open(&url)), 6);
}

/// As a transaction that was restored by hand.
#[test]
fn a_missing_entry_is_named() {
    let server = crate::server::durable();
    let url = server.database();
    let log = open(&url);
    for after in 0..5 {
        must_append(&log, after);
    }
    thread::spawn(move || {
        let mut client =
            eventfold_es::postgres::Client::connect(&url, eventfold_es::postgres::NoTls).unwrap();
        client
            .batch_execute("DELETE FROM eventfold_log WHERE seq = 3")
            .unwrap();
    })
    .join()
    .unwrap();
    let read = log.read(1, 100_000).unwrap_err();
    assert!(matches!(read, LogError::Unusable(_)), "{read:?}");
    assert!(read.to_string().contains("entry 3 is missing"), "{read}");
}
