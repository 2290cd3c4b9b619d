//! Answers that are wrong or lost, and logs that were longer.

use std::fs;
use std::pin::Pin;
use std::time::{Duration, Instant};

use eventfold_es::async_nats::{self, ConnectOptions};
use eventfold_es::replication::{AppendError, CommitLog as _, LogError, NatsLog};
use futures_core::Stream as _;
use tokio::runtime::Builder;

use crate::admin;
use crate::servers::Servers;

/// A leader that was paused gets the message, too, and answers with its old numbers. Its answer may come before that of its
/// successor, which stores the message.
#[test]
fn an_old_leader_that_refuses_an_entry_is_not_believed() {
    let Some(servers) = Servers::three() else {
        return;
    };
    let log = servers.open("shop");
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let address = servers.address(0, "store");
    runtime.block_on(async {
        let client = async_nats::connect(address.rsplit('@').next().unwrap()).await.unwrap();
        let mut asked = client.subscribe("eventfold.shop.entries").await.unwrap();
        client.flush().await.unwrap();
        tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|cx| Pin::new(&mut asked).poll_next(cx)).await {
                let lie = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 7"},"stream":"shop","seq":0}"#;
                client.publish(message.reply.unwrap(), lie.into()).await.unwrap();
            }
        });
    });
    for number in 0..50 {
        log.append(number, format!("entry {}\n", number + 1).into())
            .unwrap();
    }
    // The text is the same, and the attempt is another.
    for (after, text) in [
        (0, "entry 1\n"),
        (10, "other\n"),
        (49, "entry 50\n"),
        (77, "entry 78\n"),
    ] {
        assert_eq!(
            log.append(after, text.into()),
            Err(AppendError::Fenced),
            "{after}"
        );
    }
    let entries = log.read(1, 1_000_000).unwrap();
    let texts: Vec<_> = entries.iter().map(|entry| entry.text.to_string()).collect();
    let all: Vec<_> = (1..=50).map(|number| format!("entry {number}\n")).collect();
    assert_eq!(texts, all);
}

/// The queue of this client takes 16 messages at a time, and drops the others.
#[test]
fn entries_that_the_client_drops_are_read_again() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let all = servers.open("shop");
    admin::fill(&servers.addresses("store"), "shop", 3_000);
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let address = servers.address(0, "store");
    let client = ConnectOptions::new().subscription_capacity(16);
    let client = runtime
        .block_on(client.connect(address.rsplit('@').next().unwrap()))
        .unwrap();
    let log = NatsLog::new(client, "shop").replicas(1);
    log.open().unwrap();
    for log in [&log, &all] {
        for max_bytes in [0, 100, 10_000, 1_000_000] {
            let mut next = 1;
            loop {
                let entries = log.read(next, max_bytes).unwrap();
                if entries.is_empty() {
                    break;
                }
                for entry in entries {
                    assert_eq!(
                        (entry.number, &*entry.text),
                        (next, &*format!("entry {next}\n"))
                    );
                    next += 1;
                }
                // One by one takes too long.
                if max_bytes == 0 && next > 20 {
                    break;
                }
            }
            assert!(next == 3_001 || max_bytes == 0, "{next} with {max_bytes}");
        }
    }
}

#[test]
fn a_server_that_was_restored_from_an_older_copy_is_noticed() {
    let Some(mut servers) = Servers::one() else {
        return;
    };
    let log = servers.open("shop");
    for number in 0..5 {
        log.append(number, "old\n".into()).unwrap();
    }
    servers.kill(0);
    let (data, copy) = (servers.data(0), servers.data(0).with_file_name("copy"));
    eventfold_es_tests::copy_directory(&data, &copy).unwrap();
    servers.resume(0);
    let mut last = 5;
    while last < 8 {
        match log.append(last, "new\n".into()) {
            Ok(()) => last += 1,
            Err(AppendError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    servers.kill(0);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&copy, &data).unwrap();
    servers.resume(0);

    let fenced = loop {
        match log.append(8, "newer\n".into()) {
            Err(AppendError::Unavailable(_)) => std::thread::sleep(Duration::from_millis(20)),
            other => break other,
        }
    };
    // There is no gap: the entry needs the one before it.
    assert_eq!(fenced, Err(AppendError::Fenced));
    let error = log.read(9, 1_000).unwrap_err();
    let LogError::Unavailable(words) = &error else {
        panic!("{error}")
    };
    assert!(
        words.contains("ends at 5, and it had an entry 8"),
        "{words}"
    );
    // A node that has seen no later entry reads the old copy.
    assert_eq!(servers.open("shop").read(1, 1_000).unwrap().len(), 5);
}

/// The server has ended by itself, so it believes its note of the stream, which has all entries. The missing one is not the end of the log,
/// and no other entry takes its place.
#[test]
fn an_entry_with_a_flipped_bit_is_missing() {
    // Read one by one, and many at a time.
    for count in [20, 300] {
        let Some(mut servers) = Servers::one() else {
            return;
        };
        drop(servers.open("shop"));
        admin::fill(&servers.addresses("store"), "shop", count);
        let damaged = count / 2;
        servers.end(0);
        servers.flip_in_text(0, "shop", &format!("entry {damaged}\n"));
        servers.resume(0);
        let log = servers.open("shop");
        let mut next = 1;
        let error = loop {
            match log.read(next, 1_000_000) {
                Ok(entries) => {
                    assert!(!entries.is_empty(), "the log ends before entry {next}");
                    for entry in entries {
                        let text = format!("entry {next}\n");
                        assert_eq!((entry.number, &*entry.text), (next, &*text));
                        next += 1;
                    }
                }
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(next, damaged);
        let words =
            format!("has no entry {damaged} of {count}; if this stays, its disk is damaged");
        assert!(error.contains(&words), "{error}");
    }
}

/// A node that is far behind knows many entries of the log, and not its end.
#[test]
fn an_entry_that_no_node_told_of_is_read_with_many_others() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let log = servers.open("shop");
    let store = servers.addresses("store");
    for count in 1..=5 {
        admin::fill(&store, "shop", 100);
        let known = log.read(1, 1_000_000).unwrap().len();
        assert_eq!(known, count * 101 - 1);
        admin::publish(&store, "eventfold.shop.entries", b"another\n");
        assert_eq!(log.read(1, 1_000_000).unwrap().len(), known + 1);
    }
}

/// Nodes tell each other of the entries that they append. So a node that follows asks the servers for nothing.
#[test]
fn an_entry_of_another_node_is_there_while_no_server_answers() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let (leader, follower) = (servers.open("shop"), servers.open("shop"));
    leader.append(0, "entry 1\n".into()).unwrap();
    wait_for_news(&follower, 1);
    servers.pause(0);
    let entries = follower.read(1, 1_000).unwrap();
    servers.go_on(0);
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].number, &*entries[0].text), (1, "entry 1\n"));
}

/// The second message is as that of a node whose stream had the same name, and was deleted.
#[test]
fn an_entry_of_another_stream_with_the_same_name_is_not_believed() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let (leader, follower) = (servers.open("shop"), servers.open("shop"));
    let address = servers.address(0, "store");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let message = runtime.block_on(async {
        let client = async_nats::connect(address.rsplit('@').next().unwrap())
            .await
            .unwrap();
        let mut told = client.subscribe("eventfold.shop.node.entry").await.unwrap();
        client.flush().await.unwrap();
        leader.append(0, "entry 1\n".into()).unwrap();
        let message = std::future::poll_fn(|cx| Pin::new(&mut told).poll_next(cx))
            .await
            .unwrap();
        String::from_utf8(message.payload.to_vec()).unwrap()
    });
    let (head, _) = message.split_once('\n').unwrap();
    let (created, _) = head.split_once(' ').unwrap();
    let forged = |stream: &str, number: u64| format!("{stream} another-node {number}\nforged\n");
    let send = |message: String| {
        runtime.block_on(async {
            let client = async_nats::connect(address.rsplit('@').next().unwrap())
                .await
                .unwrap();
            client
                .publish("eventfold.shop.node.entry", message.into())
                .await
                .unwrap();
            client.flush().await.unwrap();
        });
    };
    wait_for_news(&follower, 1);
    assert_eq!(follower.read(1, 1_000).unwrap().len(), 1);
    send(forged("2020-01-01T00:00:00Z", 2));
    leader.append(1, "entry 2\n".into()).unwrap();
    wait_for_news(&follower, 2);
    assert_eq!(&*follower.read(2, 1_000).unwrap()[0].text, "entry 2\n");
    // The form of the message above is the right one.
    send(forged(created, 3));
    wait_for_news(&follower, 3);
    assert_eq!(&*follower.read(3, 1_000).unwrap()[0].text, "forged\n");
}

fn wait_for_news(log: &NatsLog, number: u64) {
    let begun = Instant::now();
    while *log.follow().borrow() < number {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no news of {number}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Long entries are small in the stream, and a node reads them in pages of their own size.
#[test]
fn long_entries_are_compressed() {
    const COUNT: u64 = 300;
    let Some(servers) = Servers::one() else {
        return;
    };
    let log = servers.open("shop");
    let text = |number| format!("entry {number} of a log\n").repeat(1_000 + number as usize);
    for number in 1..=COUNT {
        log.append(number - 1, text(number).into()).unwrap();
    }
    let store = servers.addresses("store");
    let state = || admin::api(&store, "STREAM.INFO.shop", &serde_json::Value::Null)["state"].take();
    let bytes = state()["bytes"].as_u64().unwrap();
    let texts: usize = (1..=COUNT).map(|number| text(number).len()).sum();
    assert!(bytes < texts as u64 / 20, "{bytes} bytes for {texts}");
    let (other, mut next) = (servers.open("shop"), 1);
    while next <= COUNT {
        let page = other.read(next, 200_000).unwrap();
        let bytes: usize = page.iter().map(|entry| entry.text.len()).sum();
        assert!((1..=200_000).contains(&bytes), "{bytes} bytes");
        for entry in page {
            assert_eq!((entry.number, &*entry.text), (next, &*text(next)));
            next += 1;
        }
    }
    assert!(other.read(next, 200_000).unwrap().is_empty());
    // Each entry has come once: a reader that drops entries needs another consumer for them.
    let consumers = || state()["consumer_count"].as_u64().unwrap();
    assert!(consumers() <= 2, "one for each log: {}", consumers());
}
