//! Servers that are killed and stopped while several nodes append.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use eventfold_es::replication::{AppendError, CommitLog, LogError, NatsLog};
use serde_json::Value;

use crate::admin;
use crate::servers::Servers;

const PATIENCE: Duration = Duration::from_secs(300);

/// The answer about each text. A text is tried once.
#[derive(Default)]
struct Said {
    acknowledged: Mutex<BTreeMap<u64, String>>,
    not_stored: Mutex<BTreeSet<String>>,
    unknown: Mutex<BTreeSet<String>>,
    count: AtomicU64,
    is_over: AtomicBool,
}

impl Said {
    /// Appends until the end, as a node does which takes over again and again.
    fn append_all(&self, log: &NatsLog, writer: usize) {
        let mut last = 0;
        for attempt in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let text = format!("writer {writer}, attempt {attempt}\n");
            match log.append(last, text.as_str().into()) {
                Ok(()) => {
                    last += 1;
                    let other = self.acknowledged.lock().unwrap().insert(last, text);
                    assert_eq!(other, None, "the number {last} is acknowledged twice");
                    self.count.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(AppendError::Unknown(_)) => assert!(self.unknown.lock().unwrap().insert(text)),
                Err(AppendError::Fenced | AppendError::Unavailable(_)) => {
                    assert!(self.not_stored.lock().unwrap().insert(text));
                }
                Err(error) => panic!("{error}"),
            }
            // Reads the entries of the others.
            loop {
                match log.read(last + 1, 1_000_000) {
                    Ok(entries) if entries.is_empty() => break,
                    Ok(entries) => {
                        last = check_order(last, entries.iter().map(|entry| entry.number))
                    }
                    Err(LogError::Unavailable(_)) if self.is_over.load(Ordering::Relaxed) => return,
                    Err(LogError::Unavailable(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Waits until more is acknowledged.
    fn wait_for_more(&self, more: u64) {
        let wanted = self.count.load(Ordering::Relaxed) + more;
        let begun = Instant::now();
        while self.count.load(Ordering::Relaxed) < wanted {
            assert!(begun.elapsed() < PATIENCE, "nothing is acknowledged");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Compares the answers with the log.
    fn check(&self, log: &NatsLog) {
        let mut stored = BTreeMap::new();
        let mut last = 0;
        loop {
            let entries = match log.read(last + 1, 1_000_000) {
                Ok(entries) => entries,
                Err(LogError::Unavailable(_)) => continue,
                Err(error) => panic!("{error}"),
            };
            if entries.is_empty() {
                break;
            }
            last = check_order(last, entries.iter().map(|entry| entry.number));
            stored.extend(
                entries
                    .into_iter()
                    .map(|entry| (entry.number, entry.text.to_string())),
            );
        }
        let acknowledged = self.acknowledged.lock().unwrap();
        for (number, text) in &*acknowledged {
            assert_eq!(
                stored.get(number),
                Some(text),
                "the entry {number} was acknowledged"
            );
        }
        let texts: BTreeSet<_> = stored.values().cloned().collect();
        assert_eq!(texts.len(), stored.len(), "a text is there twice");
        for text in &*self.not_stored.lock().unwrap() {
            assert!(!texts.contains(text), "not stored, it was said: {text}");
        }
        let unknown = self.unknown.lock().unwrap();
        for (number, text) in &stored {
            assert!(
                acknowledged.contains_key(number) || unknown.contains(text),
                "{number}: {text}"
            );
        }
    }
}

fn check_order(mut last: u64, numbers: impl Iterator<Item = u64>) -> u64 {
    for number in numbers {
        last += 1;
        assert_eq!(number, last, "a gap");
    }
    last
}

/// Runs three writers, each on another server first, while something happens.
fn while_appending(servers: &mut Servers, happens: impl FnOnce(&mut Servers, &Said)) {
    let logs: Vec<_> = (0..3).map(|_| servers.open("shop")).collect();
    let reader = servers.open("shop");
    let said = Said::default();
    thread::scope(|scope| {
        for (writer, log) in logs.iter().enumerate() {
            let said = &said;
            scope.spawn(move || said.append_all(log, writer));
        }
        // Also if something fails, the writers end.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let over = Over(&said.is_over);
        said.wait_for_more(30);
        happens(servers, &said);
        said.wait_for_more(30);
        drop(over);
    });
    said.check(&reader);
    said.check(&servers.open("shop"));
}

/// Waits until all servers have all entries.
pub fn wait_until_current(servers: &Servers, log: &str) {
    let begun = Instant::now();
    loop {
        let endpoint = format!("STREAM.INFO.{log}");
        let info = admin::try_api(&servers.addresses("store"), &endpoint, &Value::Null);
        if let Some(info) = info {
            let replicas = info["cluster"]["replicas"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let is_current =
                |replica: &Value| replica["current"] == true && replica["offline"] != true;
            if info["cluster"]["leader"].is_string()
                && replicas
                    .iter()
                    .filter(|replica| is_current(replica))
                    .count()
                    == 2
            {
                return;
            }
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the servers do not come together"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_server_is_killed_in_turn_and_nothing_that_was_acknowledged_is_lost() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    while_appending(&mut servers, |servers, said| {
        for index in 0..servers.count() {
            servers.kill(index);
            said.wait_for_more(30);
            servers.resume(index);
            wait_until_current(servers, "shop");
        }
    });
}

#[test]
fn the_leader_is_killed_each_time() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    while_appending(&mut servers, |servers, said| {
        for _ in 0..2 {
            let leader = servers.leader("shop");
            servers.kill(leader);
            said.wait_for_more(30);
            servers.resume(leader);
            wait_until_current(servers, "shop");
        }
    });
}

#[test]
fn all_servers_are_killed_at_once() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    while_appending(&mut servers, |servers, said| {
        (0..3).for_each(|index| servers.kill(index));
        (0..3).for_each(|index| servers.resume(index));
        said.wait_for_more(30);
    });
}

#[test]
fn a_server_alone_is_killed_and_comes_back() {
    let Some(mut servers) = Servers::one() else {
        return;
    };
    while_appending(&mut servers, |servers, said| {
        for _ in 0..3 {
            servers.kill(0);
            servers.resume(0);
            said.wait_for_more(30);
        }
    });
}

/// A leader that was stopped without its knowledge believes that it still leads when it goes on, and gets the messages of the
/// meantime.
#[test]
fn a_leader_that_stops_and_goes_on_takes_nothing_and_hides_nothing() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    while_appending(&mut servers, |servers, said| {
        for _ in 0..2 {
            let leader = servers.leader("shop");
            servers.pause(leader);
            said.wait_for_more(30);
            servers.go_on(leader);
            said.wait_for_more(30);
            wait_until_current(servers, "shop");
        }
    });
}

#[test]
fn each_server_is_stopped_in_turn() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    while_appending(&mut servers, |servers, said| {
        for index in 0..servers.count() {
            servers.pause(index);
            said.wait_for_more(30);
            servers.go_on(index);
        }
    });
}

/// Without a majority, calls end with an error.
#[test]
fn without_a_majority_calls_end_and_nothing_is_acknowledged() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    let log = servers.open("shop");
    log.append(0, "a\n".into()).unwrap();
    let leader = servers.leader("shop");
    let others: Vec<_> = (0..3).filter(|index| *index != leader).collect();
    others.iter().for_each(|index| servers.pause(*index));
    let error = log.append(1, "b\n".into()).unwrap_err();
    assert!(
        matches!(error, AppendError::Unknown(_) | AppendError::Unavailable(_)),
        "{error}"
    );
    // The leader knows all entries and cannot know that it still leads: it takes a moment until it says nothing more.
    let begun = Instant::now();
    while log.read(1, 1_000).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "a leader that is alone answers");
    }
    others.iter().for_each(|index| servers.go_on(*index));
    let entries = loop {
        match log.read(1, 1_000) {
            Ok(entries) => break entries,
            Err(error) => assert!(matches!(error, LogError::Unavailable(_)), "{error}"),
        }
    };
    assert_eq!(&*entries[0].text, "a\n");
    drop(log);
    servers.kill(leader);
}

/// The consumer of a reader is on one server.
#[test]
fn reading_many_entries_goes_on_while_servers_are_killed() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    let log = servers.open("shop");
    let count = 20_000;
    admin::fill(&servers.addresses("store"), "shop", count);
    let mut next = 1;
    let mut down = None;
    let mut pages = 0;
    while next <= count {
        match log.read(next, 16 * 1024) {
            Ok(entries) => {
                for entry in entries {
                    assert_eq!(
                        (entry.number, &*entry.text),
                        (next, &*format!("entry {next}\n"))
                    );
                    next += 1;
                }
            }
            Err(error) => assert!(matches!(error, LogError::Unavailable(_)), "{error}"),
        }
        pages += 1;
        if pages % 2 == 0 && pages <= 6 {
            if let Some(index) = down.replace(pages / 2 - 1) {
                servers.resume(index);
                wait_until_current(&servers, "shop");
            }
            servers.kill(pages / 2 - 1);
        }
    }
    assert!(pages > 6, "{pages} pages");
    assert_eq!(log.read(next, 1_000).unwrap(), []);
}
