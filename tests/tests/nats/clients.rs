//! Clients that the user has connected, and runtimes of all kinds around a log.

use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use eventfold_es::async_nats::{self, ConnectOptions};
use eventfold_es::replication::{AppendError, AskError, CommitLog, LogError, NatsLog};
use futures_core::Stream as _;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::servers::Servers;

const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_client_of_the_user_works_from_threads_without_a_runtime() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let runtime = runtime();
    let client = runtime
        .block_on(async_nats::connect(servers.address(0, "store")))
        .unwrap();
    let log = Arc::new(NatsLog::new(client, "shop").replicas(1));
    assert_eq!(
        log.describe(),
        format!(
            "the NATS stream `shop` at nats://{}",
            servers.address(0, "store").split('@').next_back().unwrap()
        )
    );
    log.open().unwrap();
    let mut follow = log.follow();
    let mut signals = log.signals();
    thread::scope(|scope| {
        scope.spawn(|| log.append(0, "a\n".into()).unwrap());
    });
    log.signal("hello".to_owned());
    runtime.block_on(async {
        follow.wait_for(|last| *last == 1).await.unwrap();
        assert_eq!(signals.recv().await.unwrap(), "hello");
    });
    assert_eq!(&*log.read(1, 100).unwrap()[0].text, "a\n");
}

/// A store calls a log on threads of its own. A call on a thread of tokio blocks it and does not end the program.
#[tokio::test]
async fn a_log_is_opened_used_and_dropped_inside_a_runtime() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let log = servers.log("shop");
    log.open().unwrap();
    log.append(0, "a\n".into()).unwrap();
    assert_eq!(log.read(1, 100).unwrap().len(), 1);
    drop(log);
}

#[test]
fn a_client_whose_runtime_is_gone_is_not_available() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let runtime = runtime();
    let client = runtime
        .block_on(async_nats::connect(servers.address(0, "store")))
        .unwrap();
    let log = NatsLog::new(client, "shop").replicas(1);
    log.open().unwrap();
    runtime.shutdown_timeout(Duration::from_secs(10));
    let error = log.append(0, "a\n".into()).unwrap_err();
    assert!(
        matches!(error, AppendError::Unavailable(_) | AppendError::Unknown(_)),
        "{error}"
    );
    let error = log.read(1, 100).unwrap_err();
    assert!(matches!(error, LogError::Unavailable(_)), "{error}");
}

#[test]
fn a_client_that_does_not_hear_itself_is_refused() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let runtime = runtime();
    let client = ConnectOptions::new()
        .no_echo()
        .connect(servers.address(0, "store"));
    let client = runtime.block_on(client).unwrap();
    let error = NatsLog::new(client, "shop")
        .replicas(1)
        .open()
        .unwrap_err()
        .to_string();
    assert!(error.contains("no_echo"), "{error}");
}

#[test]
fn a_log_that_is_not_open_says_so() {
    let log = NatsLog::connect("nats://127.0.0.1:1", "shop");
    let unavailable = AppendError::Unavailable("it is not open".to_owned());
    assert_eq!(log.append(0, "a\n".into()), Err(unavailable));
    assert_eq!(
        log.read(1, 1),
        Err(LogError::Unavailable("it is not open".to_owned()))
    );
    assert_eq!(*log.follow().borrow(), 0);
    log.signal("lost".to_owned());
}

#[test]
fn many_nodes_create_the_log_at_once() {
    let Some(servers) = Servers::three() else {
        return;
    };
    for name in ["a", "b", "c"] {
        let logs: Vec<_> = (0..6).map(|_| servers.log(name)).collect();
        thread::scope(|scope| {
            for log in &logs {
                scope.spawn(|| log.open().unwrap());
            }
        });
        logs[0].append(0, "a\n".into()).unwrap();
        assert!(logs.iter().all(|log| log.read(1, 100).unwrap().len() == 1));
    }
}

/// Without it, the others learn of an entry by asking, each second.
#[test]
fn a_node_that_appends_tells_the_others_at_once() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let log = servers.open("shop");
    let runtime = runtime();
    let mut told = runtime.block_on(async {
        let client = async_nats::connect(servers.address(0, "store"))
            .await
            .unwrap();
        let told = client.subscribe("eventfold.shop.node.entry").await.unwrap();
        client.flush().await.unwrap();
        told
    });
    for number in 0..3 {
        log.append(number, "a\n".into()).unwrap();
        let next = std::future::poll_fn(|cx| Pin::new(&mut told).poll_next(cx));
        let next = runtime.block_on(async { timeout(PATIENCE, next).await });
        let next = next.expect("a message").unwrap();
        let text = String::from_utf8(next.payload.to_vec()).unwrap();
        assert!(text.ends_with(&format!(" {}\na\n", number + 1)), "{text}");
    }
}

/// A node says at its end that another may lead. Its process ends behind `close`.
#[test]
fn the_signals_before_the_close_are_sent() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let other = servers.open("shop");
    let mut signals = other.signals();
    let runtime = runtime();
    let client = runtime
        .block_on(async_nats::connect(servers.address(0, "store")))
        .unwrap();
    let logs = [
        servers.open("shop"),
        NatsLog::new(client, "shop").replicas(1),
    ];
    for (turn, log) in logs.into_iter().enumerate() {
        log.open().unwrap();
        for number in 0..100 {
            log.signal(format!("{number} in turn {turn}"));
        }
        log.close();
        drop(log);
        for number in 0..100 {
            let next = runtime.block_on(async { timeout(PATIENCE, signals.recv()).await });
            let next = next.expect("a signal").unwrap();
            assert_eq!(next, format!("{number} in turn {turn}"));
        }
    }
}

#[test]
fn the_close_ends_without_a_server() {
    let Some(mut servers) = Servers::one() else {
        return;
    };
    let log = servers.open("shop");
    let never_open = NatsLog::connect("nats://127.0.0.1:1", "shop");
    servers.kill(0);
    let (closed, is_closed) = std::sync::mpsc::channel();
    thread::spawn(move || {
        never_open.close();
        // More than wait for being sent.
        for number in 0..1_000 {
            log.signal(number.to_string());
        }
        log.close();
        closed.send(()).unwrap();
    });
    is_closed
        .recv_timeout(PATIENCE)
        .expect("the end of `close`");
}

/// A number that a node tells is no proof, and the leader of the stream corrects it.
#[test]
fn a_wrong_number_from_another_node_does_not_stay() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let log = servers.open("shop");
    log.append(0, "a\n".into()).unwrap();
    let mut follow = log.follow();
    let runtime = runtime();
    let client = runtime
        .block_on(async_nats::connect(servers.address(0, "store")))
        .unwrap();
    follow.borrow_and_update();
    for wrong in ["7", "9", "no number"] {
        runtime
            .block_on(client.publish("eventfold.shop.node.last", wrong.into()))
            .unwrap();
    }
    // It may be corrected before this thread sees it.
    runtime
        .block_on(async { timeout(PATIENCE, follow.changed()).await })
        .expect("a change")
        .unwrap();
    assert_eq!(log.read(2, 100).unwrap(), []);
    runtime
        .block_on(async {
            timeout(PATIENCE, follow.wait_for(|last| *last == 1))
                .await
                .map(drop)
        })
        .expect("1");
}

/// A store that closes takes the questions that it holds. It has not got those behind them, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_behind_those_that_a_closing_store_holds_are_not_delivered() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let (asks, takes) =
        tokio::task::block_in_place(|| (servers.open("shop"), servers.open("shop")));
    let mut questions = takes.messenger().unwrap().questions("node");
    let asks = asks.messenger().unwrap();
    let mut asked = JoinSet::new();
    // The first one is asked until the node takes questions.
    let first = Arc::clone(&asks);
    asked.spawn(async move {
        loop {
            match first.ask("node", "first".to_owned(), PATIENCE).await {
                Err(AskError::NotDelivered(_)) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    });
    let question = timeout(PATIENCE, questions.recv()).await.unwrap().unwrap();
    question.answer("first".to_owned());
    assert_eq!(
        asked.join_next().await.unwrap().unwrap(),
        Ok("first".to_owned())
    );
    let held = questions.max_capacity();
    for number in 0..held + 500 {
        let asks = Arc::clone(&asks);
        asked.spawn(async move { asks.ask("node", number.to_string(), PATIENCE).await });
    }
    while questions.len() < held {
        tokio::task::yield_now().await;
    }
    questions.close();
    while let Some(question) = questions.recv().await {
        let answer = question.text().to_owned();
        question.answer(answer);
    }
    let answers = timeout(PATIENCE, asked.join_all()).await.unwrap();
    let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(answered.len(), held);
    let is_refused = |answer: &_| matches!(answer, Err(AskError::NotDelivered(_)));
    let count = refused.iter().filter(|answer| is_refused(*answer)).count();
    assert_eq!(count, refused.len(), "{:?}", refused.first());
}
