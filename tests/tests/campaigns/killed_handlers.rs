//! A process whose event handler calls an HTTP server is killed at any moment, again and again. The server counts the requests of
//! each idempotency key: each event has its own, at least one request, and none after its effect inside. Each effect is there once.
//!
//! `EVENTFOLD_HANDLER_KILLS=300` kills the process more often, `EVENTFOLD_CRASH_SEED=7` at other moments.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es::{HandleError, RunMode};
use eventfold_es_tests::campaign::{number, size};
use eventfold_es_tests::crash::domain::{
    Ledger, LedgerCommand, LedgerEvent, Target, TargetCommand,
};
use eventfold_es_tests::crash::scratch;

const STORE: &str = "EVENTFOLD_KILLED_HANDLER_STORE";
const PORT: &str = "EVENTFOLD_KILLED_HANDLER_PORT";
const ROUND: &str = "EVENTFOLD_KILLED_HANDLER_ROUND";
const CONCURRENCY: usize = 8;

/// The requests of each idempotency key.
type Requests = Arc<Mutex<BTreeMap<String, u32>>>;

/// Posts each entry to a server, and notes it on a target.
struct Poster {
    port: u16,
}

impl Poster {
    fn post(port: u16, key: &str) -> io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        write!(
            stream,
            "POST /entries HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status)?;
        match status.starts_with("HTTP/1.1 200") {
            true => Ok(()),
            false => Err(io::Error::other(format!("the answer is {status:?}"))),
        }
    }
}

impl EventHandler for Poster {
    const NAME: &'static str = "poster";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Ledger::AGGREGATE_TYPE];
    const CONCURRENCY: usize = CONCURRENCY;
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        let LedgerEvent::Entry { tag, part, .. } = LedgerEvent::from_event(cx.event())?;
        let (port, key) = (self.port, cx.idempotency_key().to_owned());
        let posted = tokio::task::spawn_blocking(move || Self::post(port, &key)).await;
        posted
            .map_err(HandleError::failed)?
            .map_err(HandleError::failed)?;
        let note = TargetCommand::Note { tag, part, slot: 0 };
        cx.send_envelope(CommandEnvelope {
            aggregate_type: Target::AGGREGATE_TYPE.to_owned(),
            instance_id: format!("h-{}", cx.stream_id()),
            command: serde_json::to_value(note).map_err(HandleError::failed)?,
            context: CommandContext::default(),
        });
        Ok(())
    }

    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        match failure.envelope {
            Some(_) => FailureAction::default_for(failure),
            None => FailureAction::Retry(Backoff::exponential(Duration::from_millis(5)).forever()),
        }
    }
}

async fn open(store: &Path, port: u16, mode: RunMode) -> AggregateStore {
    AggregateStore::builder(store)
        .aggregate_type::<Target>()
        .event_handler(Poster { port })
        .run_mode(mode)
        .open()
        .await
        .unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

/// Answers requests, and counts them by their keys, until the test ends. Every 97th request is refused.
fn serve(listener: TcpListener, requests: Requests) {
    let mut served = 0_u32;
    for stream in listener.incoming().map_while(Result::ok) {
        served += 1;
        // A client that is killed leaves half a request, or takes no answer.
        let _ = answer(stream, &requests, served.is_multiple_of(97));
    }
}

fn answer(stream: TcpStream, requests: &Requests, is_refused: bool) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut key = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.trim_end() {
            "" => break,
            line => {
                let value = line.strip_prefix("Idempotency-Key: ");
                key = value.map(str::to_owned).or(key);
            }
        }
    }
    let mut stream = reader.into_inner();
    if is_refused {
        return write!(stream, "HTTP/1.1 503 Service Unavailable\r\n\r\n");
    }
    if let Some(key) = key {
        let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(key).or_default() += 1;
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn killed_handlers() {
    if let Ok(store) = env::var(STORE) {
        let port = u16::try_from(number(PORT).unwrap()).unwrap();
        work(Path::new(&store), port, number(ROUND).unwrap());
        return;
    }
    let kills = number("EVENTFOLD_HANDLER_KILLS").unwrap_or_else(|| size(12, 300));
    let seed = number("EVENTFOLD_CRASH_SEED").unwrap_or(20_260_101);
    let mut random = SplitMix64::new(seed);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Requests::default();
    let served = Arc::clone(&requests);
    std::thread::spawn(move || serve(listener, served));
    let place = scratch();
    let store = place.path().join("store");
    let begun = Instant::now();
    for round in 0..kills {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "killed_handlers::killed_handlers", "--nocapture"])
            .env(STORE, &store)
            .env(PORT, port.to_string())
            .env(ROUND, round.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(20_000 + random.below(150_000) as u64));
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the process ended by itself: {ended:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (events, repeated) = runtime().block_on(check(&store, port, &requests, kills));
    println!(
        "{kills} kills, {events} events, {repeated} requests repeated, 0 violations (seed {seed}), {:.1} s",
        begun.elapsed().as_secs_f32()
    );
}

fn work(store: &Path, port: u16, round: u64) {
    runtime().block_on(async {
        let store = open(store, port, RunMode::Background).await;
        let clients = (0..4).map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                for command in 0..25 {
                    let tag = round * 1000 + client * 100 + command;
                    let put = LedgerCommand::Put { tag, parts: 1 };
                    let id = format!("ledger-{}", tag % 7);
                    store
                        .send(&id, put, CommandContext::default())
                        .await
                        .unwrap();
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        // Until the kill.
        std::future::pending::<()>().await;
    });
}

/// Lets the handler catch up, and compares the ledgers, the effects and the requests. Returns the numbers of events and of repeated
/// requests.
async fn check(store: &Path, port: u16, requests: &Requests, kills: u64) -> (usize, usize) {
    let counted = || {
        requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    };
    let opened = open(store, port, RunMode::OnDemand).await;
    let (_, effects_before) = entries_and_effects(&opened).await;
    let before = counted();
    let caught_up = Instant::now();
    let (entries, effects) = loop {
        // A refused request is retried a moment later.
        opened.run_process_managers().await.unwrap();
        let (entries, effects) = entries_and_effects(&opened).await;
        if effects.len() >= entries.len() || caught_up.elapsed() > Duration::from_secs(20) {
            break (entries, effects);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let after = counted();
    for (key, entry) in &entries {
        let there = effects.iter().filter(|effect| *effect == entry).count();
        assert_eq!(there, 1, "the effects of {entry:?}");
        assert!(after.contains_key(key), "{key} was never requested");
        if effects_before.contains(entry) {
            assert_eq!(
                before.get(key),
                after.get(key),
                "{key} was requested after its effect"
            );
        }
    }
    assert_eq!(effects.len(), entries.len());
    assert_eq!(after.len(), entries.len(), "each key belongs to one event");
    let total: u32 = after.values().sum();
    let repeated = total as usize - entries.len();
    assert!(
        repeated <= kills as usize * CONCURRENCY * 20,
        "{repeated} requests were repeated"
    );
    opened.close().await.unwrap();
    (entries.len(), repeated)
}

/// The entries of the ledgers by their idempotency keys, and the entries that have effects.
async fn entries_and_effects(
    store: &AggregateStore,
) -> (BTreeMap<String, (u64, u64)>, Vec<(u64, u64)>) {
    let (mut entries, mut effects) = (BTreeMap::new(), Vec::new());
    for (aggregate_type, id) in store.list_streams(None).await.unwrap() {
        let events = store.read_events(&aggregate_type, &id).await.unwrap();
        for (version, event) in (1..).zip(events) {
            let entry = (
                event.data["tag"].as_u64().unwrap(),
                event.data["part"].as_u64().unwrap(),
            );
            if aggregate_type == Ledger::AGGREGATE_TYPE {
                entries.insert(format!("poster:{aggregate_type}/{id}/{version}"), entry);
            } else {
                effects.push(entry);
            }
        }
    }
    (entries, effects)
}
