//! The process of a node: it serves lines of JSON on a loopback port, until its standard input ends.

use std::env;
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use eventfold_es::prelude::*;
use eventfold_es::{AggregateStoreBuilder, ExecuteError};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::clocks::Shifted;
use super::domain::{Ledger, Notary, Tally, TallyCommand};
use super::dying::{Dying, Step, end_at};
use super::engine;

pub const DIRECTORY: &str = "EVENTFOLD_NODE_DIRECTORY";
pub const NAME: &str = "EVENTFOLD_NODE_NAME";
pub const URL: &str = "EVENTFOLD_NODE_URL";
/// The hours by which the clock of a node is wrong.
pub const CLOCK: &str = "EVENTFOLD_NODE_CLOCK";
/// All events of a test, so that one file has them.
const MAX_LOG_SIZE: u64 = 1 << 30;

/// The test in which a process is a node.
pub const TEST: &str = "nodes::program::node";

/// The lines of a process begin with these words.
pub const SERVING: &str = "serving ";
pub const REFUSED: &str = "refused ";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    Add {
        tally: String,
        key: String,
    },
    Read {
        tally: String,
    },
    Totals,
    Role,
    Verify,
    /// The process ends when it has passed the step so many times, and comes to it once more.
    EndAt(Option<(Step, usize)>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Added {
        version: u64,
    },
    NotLeader {
        address: Option<SocketAddr>,
    },
    Unavailable(String),
    Unknown(String),
    /// Another error of a command. Nothing was stored.
    Failed(String),
    Version(u64),
    Totals {
        added: u64,
        noted: u64,
    },
    Role {
        is_leader: bool,
        text: String,
    },
    /// The result of `verify`, and its text.
    Verified {
        is_clean: bool,
        text: String,
    },
}

#[test]
fn node() {
    let Ok(directory) = env::var(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(PathBuf::from(directory)));
}

/// The store of a node, without its log. Commands for tallies are forwarded to the leader, where the log can do that.
pub fn builder(directory: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(directory)
        .aggregate_type::<Tally>()
        .process_manager::<Notary>()
        .max_log_size(MAX_LOG_SIZE)
}

async fn run(directory: PathBuf) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = engine::connect(&env::var(URL).unwrap());
    let hours = env::var(CLOCK).map_or(0, |hours| hours.parse().unwrap());
    let builder = builder(&directory)
        .clock(Shifted { hours })
        .replicated(Dying::new(log))
        .node(env::var(NAME).unwrap());
    // The line before has the name of the test.
    let store = match builder.advertise(address.to_string()).open().await {
        Ok(store) => store,
        Err(error) => return println!("\n{REFUSED}{error}"),
    };
    println!("\n{SERVING}{address}");
    let serving = store.clone();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let store = serving.clone();
            tokio::spawn(serve(client, store));
        }
    });
    let closes = tokio::task::spawn_blocking(|| {
        let mut word = String::new();
        std::io::stdin().lock().read_line(&mut word).unwrap();
        word == "close\n"
    });
    if closes.await.unwrap() {
        store.close().await.unwrap();
    }
    // Without the word, the test has ended.
    std::process::exit(0);
}

async fn serve(client: TcpStream, store: AggregateStore) {
    let (requests, mut answers) = client.into_split();
    let mut requests = BufReader::new(requests).lines();
    while let Ok(Some(line)) = requests.next_line().await {
        let request = serde_json::from_str(&line).unwrap();
        let answer = answer(&store, request).await;
        let line = format!("{}\n", serde_json::to_string(&answer).unwrap());
        if answers.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(store: &AggregateStore, request: Request) -> Answer {
    let answered = match request {
        Request::Add { tally, key } => return add(store, &tally, key).await,
        Request::Read { tally } => version(store, &tally).await,
        Request::Totals => totals(store).await,
        Request::Verify => verify(store).await,
        Request::EndAt(end) => {
            end_at(end);
            Ok(Answer::Done)
        }
        Request::Role => {
            let role = store.role().borrow().clone();
            Ok(Answer::Role {
                is_leader: role.is_leader(),
                text: role.to_string(),
            })
        }
    };
    answered.unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

async fn add(store: &AggregateStore, tally: &str, key: String) -> Answer {
    let context = CommandContext::default().with_idempotency_key(&key);
    match store.send(tally, TallyCommand::Add { key }, context).await {
        Ok(executed) => Answer::Added {
            version: executed.version,
        },
        Err(ExecuteError::NotLeader { leader }) => Answer::NotLeader {
            address: leader.map(|leader| leader.address.unwrap().parse().unwrap()),
        },
        Err(ExecuteError::Unavailable { reason }) => Answer::Unavailable(reason.to_string()),
        Err(ExecuteError::OutcomeUnknown { reason }) => Answer::Unknown(reason.to_string()),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

type Answered = Result<Answer, Box<dyn std::error::Error + Send + Sync>>;

async fn version(store: &AggregateStore, tally: &str) -> Answered {
    let loaded = store.get::<Tally>(tally).await?.load().await?;
    Ok(Answer::Version(loaded.version))
}

async fn verify(store: &AggregateStore) -> Answered {
    let report = store.verify().await?;
    Ok(Answer::Verified {
        is_clean: report.is_clean(),
        text: format!("{report:?}"),
    })
}

async fn totals(store: &AggregateStore) -> Answered {
    let (mut added, mut noted) = (0, 0);
    for id in store.list::<Tally>().await? {
        added += store.get::<Tally>(&id).await?.state().await?.added;
    }
    for id in store.list::<Ledger>().await? {
        noted += store.get::<Ledger>(&id).await?.state().await?.noted;
    }
    Ok(Answer::Totals { added, noted })
}
