//! Three processes on directories of their own, and one log.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;
use eventfold_es::replication::CommitLog as _;
use eventfold_es_tests::signals;
use tempfile::TempDir;

use super::clients::ask;
use super::engine::{self, Server, Ways};
use super::history::{self, Operation, Streams};
use super::program::{self, Answer, DIRECTORY, NAME, REFUSED, Request, SERVING, TEST, URL};

pub const NODES: usize = 3;
/// For something that happens soon, on a slow machine.
pub const SOON: Duration = Duration::from_secs(120);

/// Looks again and again, until it finds something.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = within(SOON, look).await;
    found.unwrap_or_else(|| panic!("never: {what}"))
}

/// Looks again and again for some time.
pub async fn within<T>(time: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if begun.elapsed() >= time {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub struct Cluster {
    scratch: TempDir,
    /// Whether the history has been checked.
    is_good: AtomicBool,
    ways: Ways,
    nodes: [Mutex<Option<Process>>; NODES],
    /// Variables of the environment of each node.
    variables: [Mutex<Vec<(&'static str, String)>>; NODES],
}

/// A process that serves. It ends with this value.
struct Process {
    child: Child,
    address: SocketAddr,
    /// After a minute, the process prints that the test still runs, and ends if nobody can read that.
    _output: BufReader<ChildStdout>,
}

impl Process {
    fn close(&mut self) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(b"close\n").unwrap();
        let ended = self.child.wait().unwrap();
        assert!(
            ended.success(),
            "{ended}; its directory has a file beside it that says more"
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Cluster {
    /// Keeps the directories of a test that has failed. The last clients may end behind it, on another thread.
    fn drop(&mut self) {
        self.scratch.disable_cleanup(!self.is_good.load(Relaxed));
        if !self.is_good.load(Relaxed) {
            println!("  see {}", self.scratch.path().display());
        }
    }
}

/// Keeps a directory of a test that has failed, for a look at it.
pub fn keep_after_failure(scratch: &mut TempDir) {
    if std::thread::panicking() {
        scratch.disable_cleanup(true);
        println!("  see {}", scratch.path().display());
    }
}

impl Cluster {
    /// Three nodes, of which the first is the leader.
    pub async fn start(server: &Server) -> Self {
        let cluster = Self {
            scratch: tempfile::tempdir().unwrap(),
            is_good: AtomicBool::new(false),
            ways: Ways::to(server, NODES),
            nodes: Default::default(),
            variables: Default::default(),
        };
        for node in 0..NODES {
            cluster.open(node).await.unwrap();
        }
        cluster
    }

    /// The directory of a node.
    pub fn directory(&self, node: usize) -> PathBuf {
        self.scratch.path().join(node.to_string())
    }

    pub fn journal_file(&self, node: usize) -> PathBuf {
        self.directory(node).join("meta/journal/app.jsonl")
    }

    /// The ways of the nodes to the log.
    pub fn ways(&self) -> &Ways {
        &self.ways
    }

    fn process(&self, node: usize) -> MutexGuard<'_, Option<Process>> {
        lock(&self.nodes[node])
    }

    /// Sets a variable for the next process of a node.
    pub fn set(&self, node: usize, variable: &'static str, value: impl ToString) {
        lock(&self.variables[node]).push((variable, value.to_string()));
    }

    /// Starts the process of a node. The error is that of opening its store.
    pub async fn open(&self, node: usize) -> Result<(), String> {
        let (directory, name) = (self.directory(node), format!("node-{node}"));
        let url = self.ways.of(node);
        let variables = lock(&self.variables[node]).clone();
        let opening =
            tokio::task::spawn_blocking(move || spawn(&directory, &name, &url, variables));
        let process = opening.await.unwrap()?;
        *self.process(node) = Some(process);
        Ok(())
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&self, node: usize) {
        let process = self.process(node).take();
        drop(process);
    }

    /// Whether the process of a node runs.
    pub fn runs(&self, node: usize) -> bool {
        self.process(node).is_some()
    }

    /// The number of nodes whose processes have ended.
    pub fn ended(&self) -> usize {
        let has_ended = |node: &usize| {
            let mut process = self.process(*node);
            let runs = |one: &mut Process| one.child.try_wait().unwrap().is_none();
            if !process.as_mut().is_some_and(runs) {
                process.take();
            }
            process.is_none()
        };
        (0..NODES).filter(has_ended).count()
    }

    /// Starts the process of a node, again and again while the log does not answer.
    pub async fn must_open(&self, node: usize) {
        until("the node opens", async || match self.open(node).await {
            Ok(()) => Some(()),
            Err(refused) => {
                assert!(refused.contains("is not available"), "{refused}");
                None
            }
        })
        .await;
    }

    /// Closes the store of a node, and ends its process.
    pub fn close(&self, node: usize) {
        // The lock is free meanwhile: the clients ask for addresses, on the threads that serve the ways of this node.
        let process = self.process(node).take();
        process.unwrap().close();
    }

    /// Stops all threads of a node with SIGSTOP. Its connections stay open.
    pub fn suspend(&self, node: usize) {
        signals::stop([self.pid(node)]);
    }

    /// Ends [`suspend`](Self::suspend).
    pub fn wake(&self, node: usize) {
        signals::go_on([self.pid(node)]);
    }

    fn pid(&self, node: usize) -> u32 {
        let process = self.process(node);
        process.as_ref().expect("the node runs").child.id()
    }

    /// The address of a node that runs.
    pub fn address(&self, node: usize) -> Option<SocketAddr> {
        self.process(node).as_ref().map(|process| process.address)
    }

    /// The node that serves there.
    pub fn node_at(&self, address: SocketAddr) -> Option<usize> {
        (0..NODES).find(|node| self.address(*node) == Some(address))
    }

    /// Asks a node. `None` if it does not answer.
    pub async fn ask(&self, node: usize, request: Request) -> Option<Answer> {
        ask(self.address(node)?, &request).await
    }

    /// The role of each node, for a message.
    pub async fn roles(&self) -> Vec<Option<Answer>> {
        let mut roles = Vec::new();
        for node in 0..NODES {
            roles.push(self.ask(node, Request::Role).await);
        }
        roles
    }

    pub async fn is_leader(&self, node: usize) -> bool {
        let role = self.ask(node, Request::Role).await;
        matches!(
            role,
            Some(Answer::Role {
                is_leader: true,
                ..
            })
        )
    }

    /// Waits for the leader among some nodes.
    pub async fn leader_of(&self, nodes: &[usize]) -> usize {
        until("a leader", async || {
            for node in nodes {
                if self.is_leader(*node).await {
                    return Some(*node);
                }
            }
            None
        })
        .await
    }

    /// Waits until a node follows.
    pub async fn until_follower(&self, node: usize) {
        until("the node follows", async || {
            let role = self.ask(node, Request::Role).await?;
            let Answer::Role { text, .. } = role else {
                panic!("{role:?}");
            };
            text.starts_with("follower of `").then_some(())
        })
        .await;
    }

    /// The text of the log.
    pub fn log(&self) -> String {
        let log = engine::connect(self.ways.direct());
        log.open().unwrap();
        let (mut texts, mut next) = (String::new(), 1);
        loop {
            let page = log.read(next, 1 << 20).unwrap();
            if page.is_empty() {
                return texts;
            }
            next += page.len() as u64;
            texts.extend(page.iter().map(|entry| &*entry.text));
        }
    }

    /// The text of the journal of a node.
    pub fn journal(&self, node: usize) -> String {
        String::from_utf8_lossy(&self.journal_bytes(node)).into_owned()
    }

    /// The journal of a node, without the space behind it. It may be damaged.
    pub fn journal_bytes(&self, node: usize) -> Vec<u8> {
        let mut bytes = fs::read(self.journal_file(node)).unwrap_or_default();
        let end = bytes.iter().rposition(|byte| *byte != 0);
        bytes.truncate(end.map_or(0, |end| end + 1));
        bytes
    }

    /// Verifies the files of a node, however long that takes.
    pub async fn verify(&self, node: usize) -> Answer {
        let asked = until("an answer", async || self.ask(node, Request::Verify).await);
        asked.await
    }

    /// Waits until all events are reacted to, and all nodes have the bytes of the log.
    pub async fn converge(&self) {
        let mut totals = Vec::new();
        let are_same = within(SOON, async || {
            totals.clear();
            for node in 0..NODES {
                totals.push(self.ask(node, Request::Totals).await);
            }
            let is_done = |totals: &&Option<Answer>| matches!(totals, Some(Answer::Totals { added, noted }) if added == noted);
            let first = totals.first().filter(is_done);
            (totals.iter().all(|totals| Some(totals) == first)).then_some(())
        })
        .await;
        assert!(
            are_same.is_some(),
            "the nodes have other totals: {totals:?}"
        );
        let log = self.log();
        until("the same bytes on all nodes", async || {
            let has_them = |node| self.journal(node) == log;
            (0..NODES).all(has_them).then_some(())
        })
        .await;
    }

    /// Closes all nodes, and checks their history. The number of events is the result.
    pub async fn finish(self, operations: &[Operation]) -> usize {
        self.converge().await;
        let leader = self.leader_of(&[0, 1, 2]).await;
        for node in (0..NODES).filter(|node| *node != leader).chain([leader]) {
            self.close(node);
        }
        let log = self.log();
        for node in 0..NODES {
            assert!(self.journal(node) == log, "node {node} has another journal");
        }
        self.check(operations).await
    }

    /// Checks the history in the directories of nodes that do not run. The number of events is the result.
    pub async fn check(&self, operations: &[Operation]) -> usize {
        let mut events = 0;
        for node in 0..NODES {
            let (tallies, ledgers) = streams(&self.directory(node)).await;
            events = tallies.values().map(Vec::len).sum();
            if let Err(reason) = history::check(operations, &tallies, &ledgers) {
                panic!("node {node}: {reason}");
            }
        }
        self.is_good.store(true, Relaxed);
        events
    }
}

/// The keys of all events, from the directory of a closed node.
async fn streams(directory: &Path) -> (Streams, Streams) {
    let store = program::builder(directory).open().await.unwrap();
    let verified = store.verify().await.unwrap();
    assert!(verified.is_clean(), "{verified:?}");
    let tallies = keys(&store, "tally").await;
    let ledgers = keys(&store, "ledger").await;
    store.close().await.unwrap();
    (tallies, ledgers)
}

async fn keys(store: &AggregateStore, aggregate_type: &str) -> Streams {
    let mut streams = Streams::new();
    for (_, id) in store.list_streams(Some(aggregate_type)).await.unwrap() {
        let events = store.read_events(aggregate_type, &id).await.unwrap();
        let key = |event: &eventfold::Event| event.data["key"].as_str().unwrap().to_owned();
        streams.insert(id, events.iter().map(key).collect());
    }
    streams
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(
    directory: &Path,
    name: &str,
    url: &str,
    variables: Vec<(&str, String)>,
) -> Result<Process, String> {
    // Beside its directory, for a test that fails.
    let errors = directory.with_extension("errors");
    let errors = File::options().create(true).append(true).open(errors);
    let errors = errors.unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(DIRECTORY, directory)
        .env(NAME, name)
        .env(URL, url)
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for line in output.by_ref().lines().map_while(Result::ok) {
        if let Some(reason) = line.strip_prefix(REFUSED) {
            child.wait().unwrap();
            return Err(reason.to_owned());
        }
        if let Some(address) = line.strip_prefix(SERVING) {
            let address = address.parse().unwrap();
            return Ok(Process {
                child,
                address,
                _output: output,
            });
        }
    }
    panic!("the process of {name} ended: {:?}", child.wait());
}
