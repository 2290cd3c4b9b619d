//! Clients that send commands to whichever node takes them, and note what they are told.

use std::collections::BTreeMap;
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eventfold_es::disk::SplitMix64;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, NODES, SOON, until, within};
use super::history::{Operation, Outcome};
use super::program::{Answer, Request};

const TALLIES: [&str; 3] = ["hot", "warm", "cold"];
/// The time that a client waits for an answer before it asks another node.
const IMPATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// A request on a connection of its own. `None` if the node does not answer.
pub async fn ask(address: SocketAddr, request: &Request) -> Option<Answer> {
    let mut connection = timeout(SOON, Connection::open(address)).await.ok()??;
    timeout(IMPATIENCE, connection.ask(request)).await.ok()?
}

struct Connection {
    answers: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
}

impl Connection {
    async fn open(address: SocketAddr) -> Option<Self> {
        let (answers, requests) = TcpStream::connect(address).await.ok()?.into_split();
        Some(Self {
            answers: BufReader::new(answers).lines(),
            requests,
        })
    }

    async fn ask(&mut self, request: &Request) -> Option<Answer> {
        let line = format!("{}\n", serde_json::to_string(request).unwrap());
        self.requests.write_all(line.as_bytes()).await.ok()?;
        let line = self.answers.next_line().await.ok()??;
        Some(serde_json::from_str(&line).unwrap())
    }
}

/// The way of a client with a command that is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// It asks the next node after two seconds, and mostly repeats the command until it is acknowledged.
    Hasty,
    /// It waits for the answer, and never repeats the command.
    Stubborn,
}

/// An acknowledged command: its time, and its node.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub at: Instant,
    pub by: usize,
}

#[derive(Default)]
struct Notes {
    has_ended: AtomicBool,
    acknowledged: Mutex<Vec<Acknowledged>>,
    /// The number of each kind of answer.
    answers: Mutex<BTreeMap<String, u64>>,
}

pub struct Clients {
    notes: Arc<Notes>,
    tasks: Vec<JoinHandle<Vec<Operation>>>,
}

impl Clients {
    /// Each client rests for `pause` between two commands.
    pub fn start(
        cluster: &Arc<Cluster>,
        tempers: &[Temper],
        pause: Duration,
        random: &mut SplitMix64,
    ) -> Self {
        let notes = Arc::new(Notes::default());
        let tasks = tempers.iter().enumerate().map(|(number, temper)| {
            let client = Client {
                number,
                temper: *temper,
                pause,
                cluster: Arc::clone(cluster),
                notes: Arc::clone(&notes),
                random: SplitMix64::new(random.next_u64()),
                node: number % NODES,
                connections: [const { None }; NODES],
            };
            tokio::spawn(client.run())
        });
        Self {
            tasks: tasks.collect(),
            notes,
        }
    }

    fn acknowledged(&self) -> MutexGuard<'_, Vec<Acknowledged>> {
        lock(&self.notes.acknowledged)
    }

    /// The number of acknowledged commands, to wait for more.
    pub fn count(&self) -> usize {
        self.acknowledged().len()
    }

    /// Waits for as many further acknowledged commands.
    pub async fn until_more(&self, more: usize) {
        let before = self.count();
        until("more acknowledged commands", async || {
            (self.count() >= before + more).then_some(())
        })
        .await;
    }

    /// The number of commands that a node has acknowledged after a time.
    pub fn count_by(&self, node: usize, after: Instant) -> usize {
        let acknowledged = self.acknowledged();
        let of_node = acknowledged.iter().filter(|one| one.by == node);
        of_node.filter(|one| one.at > after).count()
    }

    /// The first command that was acknowledged after a time.
    pub fn first_after(&self, after: Instant) -> Option<Acknowledged> {
        let acknowledged = self.acknowledged();
        acknowledged.iter().find(|one| one.at > after).copied()
    }

    /// The node that has acknowledged the last command.
    pub fn last_by(&self) -> usize {
        self.acknowledged().last().expect("a command").by
    }

    /// Waits for the first command that another node than `former` acknowledges after a time. `None` after that time.
    pub async fn by_other_within(
        &self,
        time: Duration,
        former: usize,
        after: Instant,
    ) -> Option<Acknowledged> {
        within(time, async || {
            let acknowledged = self.acknowledged();
            let later = acknowledged.iter().rev().take_while(|one| one.at > after);
            later.filter(|one| one.by != former).last().copied()
        })
        .await
    }

    /// Waits for it, however long it takes.
    pub async fn until_by_other(&self, former: usize, after: Instant) -> Acknowledged {
        let found = self.by_other_within(SOON, former, after).await;
        found.expect("another node acknowledges a command")
    }

    /// Ends the clients. Each of them finishes its command.
    pub async fn finish(mut self) -> Vec<Operation> {
        self.notes.has_ended.store(true, Ordering::Relaxed);
        let mut operations = Vec::new();
        for task in mem::take(&mut self.tasks) {
            operations.extend(task.await.unwrap());
        }
        for (answer, count) in &*lock(&self.notes.answers) {
            println!("  {count:>6} × {answer}");
        }
        operations
    }
}

impl Drop for Clients {
    /// After a failure, they end with the test.
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Client {
    number: usize,
    temper: Temper,
    pause: Duration,
    cluster: Arc<Cluster>,
    notes: Arc<Notes>,
    random: SplitMix64,
    /// The node to ask next.
    node: usize,
    connections: [Option<(SocketAddr, Connection)>; NODES],
}

/// The answer to one sending of a command.
enum Told {
    Added(u64),
    /// It is not stored.
    NotStored,
    /// It may be stored, or arrive later.
    Open,
}

impl Client {
    async fn run(mut self) -> Vec<Operation> {
        let mut operations = Vec::new();
        while !self.notes.has_ended.load(Ordering::Relaxed) {
            sleep(self.pause).await;
            // It does not always know the leader, and a node that was away gets clients again.
            if self.random.chance(1) {
                self.node = self.random.below(NODES);
            }
            let tally = TALLIES[self.random.below(TALLIES.len())];
            let key = format!("{}-{}", self.number, operations.len());
            operations.push(self.add(tally, &key).await);
        }
        operations
    }

    async fn add(&mut self, tally: &str, key: &str) -> Operation {
        let repeats = self.temper == Temper::Hasty && self.random.chance(7);
        let begun = Instant::now();
        let mut is_open = false;
        let outcome = loop {
            let node = self.node;
            match self.send(tally, key).await {
                Told::Added(version) => {
                    let at = Instant::now();
                    lock(&self.notes.acknowledged).push(Acknowledged { at, by: node });
                    if self.random.chance(2) {
                        self.read(node, tally, version).await;
                    }
                    break Outcome::Acknowledged(version);
                }
                Told::NotStored => sleep(PAUSE).await,
                Told::Open => is_open = true,
            }
            assert!(begun.elapsed() < SOON, "`{key}` is never acknowledged");
            if !repeats {
                break if is_open {
                    Outcome::Unknown
                } else {
                    Outcome::NotStored
                };
            }
        };
        Operation {
            tally: tally.to_owned(),
            key: key.to_owned(),
            begun,
            ended: Instant::now(),
            outcome,
        }
    }

    /// The node that has acknowledged a command shows it.
    async fn read(&mut self, node: usize, tally: &str, version: u64) {
        let tally = tally.to_owned();
        let Some((_, connection)) = &mut self.connections[node] else {
            return;
        };
        match timeout(IMPATIENCE, connection.ask(&Request::Read { tally })).await {
            Ok(Some(Answer::Version(read))) => assert!(read >= version, "{read} after {version}"),
            Ok(None) => {}
            Ok(Some(other)) => panic!("{other:?}"),
            // A late answer is none to the next request.
            Err(_) => self.connections[node] = None,
        }
    }

    async fn send(&mut self, tally: &str, key: &str) -> Told {
        let node = self.node;
        let next = (node + 1) % NODES;
        self.node = next;
        let patience = match self.temper {
            Temper::Hasty => IMPATIENCE,
            Temper::Stubborn => SOON,
        };
        let Some(connection) = self.connection(node).await else {
            self.note("no connection");
            return Told::NotStored;
        };
        let request = Request::Add {
            tally: tally.to_owned(),
            key: key.to_owned(),
        };
        let (answer, text) = match timeout(patience, connection.ask(&request)).await {
            Err(_) => (None, "no answer in time"),
            Ok(None) => (None, "the connection was lost"),
            Ok(answer) => (answer, ""),
        };
        let Some(answer) = answer else {
            self.connections[node] = None;
            self.note(text);
            return Told::Open;
        };
        match answer {
            Answer::Added { version } => {
                self.node = node;
                self.note("acknowledged");
                Told::Added(version)
            }
            Answer::NotLeader { address } => {
                let leader = address.and_then(|address| self.cluster.node_at(address));
                self.node = leader.unwrap_or(next);
                self.note("another node is the leader");
                Told::NotStored
            }
            Answer::Unavailable(reason) => {
                self.note(&format!("unavailable: {reason}"));
                Told::NotStored
            }
            Answer::Failed(reason) => {
                self.note(&format!("failed: {reason}"));
                Told::NotStored
            }
            Answer::Unknown(reason) => {
                self.note(&format!("unknown: {reason}"));
                Told::Open
            }
            other => panic!("{other:?}"),
        }
    }

    async fn connection(&mut self, node: usize) -> Option<&mut Connection> {
        let address = self.cluster.address(node)?;
        let connection = &mut self.connections[node];
        if connection
            .as_ref()
            .is_none_or(|(known, _)| *known != address)
        {
            let opened = timeout(IMPATIENCE, Connection::open(address)).await;
            *connection = Some((address, opened.ok()??));
        }
        connection.as_mut().map(|(_, connection)| connection)
    }

    fn note(&self, answer: &str) {
        *lock(&self.notes.answers)
            .entry(answer.to_owned())
            .or_default() += 1;
    }
}
