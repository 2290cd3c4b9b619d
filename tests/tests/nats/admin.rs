//! The work of an operator at the servers, over a client of its own.

use std::pin::Pin;
use std::time::Duration;

use eventfold_es::async_nats::{Client, ConnectOptions};
use futures_core::Stream as _;
use serde_json::{Value, json};

/// Runs something with a client.
pub fn with<T>(addresses: &str, work: impl AsyncFnOnce(Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // Without users, they take everybody as `store`.
        let hosts = addresses
            .split(',')
            .map(|address| address.rsplit('@').next().unwrap().to_owned());
        let addresses: Vec<_> = hosts.collect();
        let options = ConnectOptions::new().request_timeout(Some(Duration::from_secs(30)));
        let client = options.connect(addresses).await.unwrap();
        work(client).await
    })
}

/// The text of a question: none for `null`.
fn text(body: &Value) -> String {
    match body {
        Value::Null => String::new(),
        body => body.to_string(),
    }
}

/// Asks the interface of JetStream.
pub fn api(addresses: &str, endpoint: &str, body: &Value) -> Value {
    with(addresses, async |client| {
        let subject = format!("$JS.API.{endpoint}");
        let answer = client.request(subject, text(body).into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    })
}

/// Asks the interface of JetStream, which may not answer.
pub fn try_api(addresses: &str, endpoint: &str, body: &Value) -> Option<Value> {
    with(addresses, async |client| {
        let question = client.request(format!("$JS.API.{endpoint}"), text(body).into());
        let answer = tokio::time::timeout(Duration::from_secs(2), question)
            .await
            .ok()?
            .ok()?;
        serde_json::from_slice(&answer.payload).ok()
    })
}

/// Creates a stream with settings of its own.
pub fn create(addresses: &str, name: &str, settings: &Value) {
    let mut config = json!({ "name": name });
    config
        .as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    let answer = api(addresses, &format!("STREAM.CREATE.{name}"), &config);
    assert!(answer["error"].is_null(), "{answer}");
}

/// Publishes a message without an expectation, as another application does.
pub fn publish(addresses: &str, subject: &str, payload: &[u8]) {
    with(addresses, async |client| {
        let answer = client
            .request(subject.to_owned(), payload.to_vec().into())
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer["error"].is_null(), "{answer}");
    });
}

/// Appends many entries at once, without an expectation: `entry 1`, `entry 2` and so on, of an empty log.
pub fn fill(addresses: &str, name: &str, count: u64) {
    with(addresses, async |client| {
        let subject = format!("eventfold.{name}.entries");
        for first in (1..=count).step_by(500) {
            // The order of the requests is the order of the entries, and the answers come later.
            let last = count.min(first + 499);
            let inbox = client.new_inbox();
            let mut answers = client.subscribe(inbox.clone()).await.unwrap();
            for number in first..=last {
                let text = format!("entry {number}\n");
                client
                    .publish_with_reply(subject.clone(), inbox.clone(), text.into())
                    .await
                    .unwrap();
            }
            for _ in first..=last {
                let answer = std::future::poll_fn(|cx| Pin::new(&mut answers).poll_next(cx))
                    .await
                    .unwrap();
                assert!(
                    !answer
                        .payload
                        .windows(7)
                        .any(|window| window == b"\"error\""),
                    "{answer:?}"
                );
            }
        }
    });
}
