//! One shop on three nodes, of which the leader is killed twice.
//!
//! ```text
//! cargo run -p eventfold-es-services --features cluster --example cluster -- --engine nats
//! ```
//!
//! The program starts the servers of the engine, and itself three times as a node. Customers place orders through all nodes, while
//! the leader is killed and started again. At the end each order was placed, reserved and confirmed once, and the journals of all
//! nodes are the same bytes. Otherwise the program fails.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod customers;
mod domain;
mod engine;
mod nats;
mod node;
mod postgres;

use std::env;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use customers::{Customer, Placed};
use engine::{Engine, Servers};
use eventfold_es_services::until;
use node::Totals;
use tokio::sync::mpsc;

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
const CUSTOMERS: usize = 6;
const ORDERS: u32 = 60;
/// The leader is killed after this many orders.
const KILLS: [u32; 2] = [100, 200];
const USAGE: &str = "usage: cluster [--engine nats|postgres]";

type Done<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [] => run_cluster(Engine::of_this_machine()).await,
        ["--engine", engine] => run_cluster(Engine::named(engine)?).await,
        ["node", name, directory, listen, engine, servers] => {
            let engine = Engine::named(engine)?;
            // The standard input ends when the cluster closes its nodes, or ends itself.
            let closing = async {
                let ended = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
                let _ = ended.await;
            };
            node::run(
                name,
                Path::new(directory),
                listen.parse()?,
                engine,
                servers,
                closing,
            )
            .await
        }
        _ => Err(USAGE.into()),
    }
}

/// A free port of loopback.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A process of this program that is a node.
struct Process {
    name: &'static str,
    directory: PathBuf,
    listen: SocketAddr,
    running: Option<Child>,
}

impl Process {
    /// Starts it, and waits until it serves.
    fn start(&mut self, engine: Engine, servers: &Servers) -> Done {
        let mut command = Command::new(env::current_exe()?);
        command.args(["node", self.name]).arg(&self.directory);
        command.args([&self.listen.to_string(), engine.name(), &servers.url]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        self.running = Some(child);
        match line.trim() {
            "serving" => Ok(()),
            _ => Err(format!("{} does not start", self.name).into()),
        }
    }

    /// Kills it with SIGKILL: nothing of it is told or closed.
    fn kill(&mut self) -> Done {
        if let Some(mut child) = self.running.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Done {
        if let Some(mut child) = self.running.take() {
            drop(child.stdin.take());
            if !child.wait()?.success() {
                return Err(format!("{} does not close", self.name).into());
            }
        }
        Ok(())
    }

    fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    fn journal(&self) -> Done<String> {
        let journal = std::fs::read_to_string(self.directory.join("meta/journal/app.jsonl"))?;
        Ok(journal.trim_end_matches('\0').to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

async fn run_cluster(engine: Engine) -> Done {
    println!("engine: {}", engine.name());
    let scratch = tempfile::tempdir()?;
    let servers = engine.start(&scratch.path().join("servers"))?;
    let mut nodes = Vec::new();
    for name in NODES {
        let mut node = Process {
            name,
            directory: scratch.path().join(name),
            listen: SocketAddr::from(([127, 0, 0, 1], free_port()?)),
            running: None,
        };
        node.start(engine, &servers)?;
        nodes.push(node);
    }
    let http = reqwest::Client::new();
    let (sender, mut placed) = mpsc::unbounded_channel();
    let urls: Arc<[String]> = nodes.iter().map(Process::url).collect();
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|number| {
            let customer = Customer {
                number,
                nodes: Arc::clone(&urls),
                http: http.clone(),
                placed: sender.clone(),
            };
            tokio::spawn(customer.place_all(ORDERS))
        })
        .collect();
    drop(sender);

    let expected = watch(&http, &mut placed, &mut nodes, engine, &servers).await?;
    for customer in customers {
        customer.await??;
    }
    until("all nodes have all orders", async || {
        for node in &nodes {
            if totals(&http, node).await? != expected {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await?;
    // More than once would come later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for node in &nodes {
        let found = totals(&http, node).await?;
        if found != expected {
            return Err(format!("{} has {found:?} instead of {expected:?}", node.name).into());
        }
    }
    println!("orders placed: {}", expected.placed);
    println!("orders confirmed: {}", expected.confirmed);
    println!("units reserved: {}", expected.reserved);
    println!(
        "journals: {} bytes, the same on {} nodes",
        close(&http, &mut nodes).await?,
        nodes.len()
    );
    Ok(())
}

/// Kills the leader twice, and starts it again. The totals of all acknowledged orders are the result.
async fn watch(
    http: &reqwest::Client,
    placed: &mut mpsc::UnboundedReceiver<Placed>,
    nodes: &mut [Process],
    engine: Engine,
    servers: &Servers,
) -> Done<Totals> {
    let mut totals = Totals::default();
    let mut repeated = 0;
    let mut killed: Option<(usize, Instant)> = None;
    while let Some(order) = placed.recv().await {
        totals.placed += 1;
        totals.confirmed += 1;
        totals.reserved += order.qty;
        repeated += order.sent - 1;
        if let Some((number, at)) = killed
            && order.begun > at
        {
            let node = nodes.get_mut(number).ok_or("the node is unknown")?;
            let time = order.at - at;
            println!("{} was killed; the next order took {time:.2?}", node.name);
            node.start(engine, servers)?;
            killed = None;
        }
        if KILLS.contains(&totals.placed) {
            let number = leader(http, nodes).await?;
            nodes.get_mut(number).ok_or("the node is unknown")?.kill()?;
            killed = Some((number, Instant::now()));
        }
    }
    match killed {
        Some(_) => Err("no node took over".into()),
        None => {
            println!("orders sent again: {repeated} times");
            Ok(totals)
        }
    }
}

/// The number of the node that is the leader.
async fn leader(http: &reqwest::Client, nodes: &[Process]) -> Done<usize> {
    for (number, node) in nodes.iter().enumerate() {
        let role = http.get(format!("{}/role", node.url())).send().await?;
        let role: serde_json::Value = role.json().await?;
        if role.get("role").is_some_and(|role| role == "leader") {
            return Ok(number);
        }
    }
    Err("no node is the leader".into())
}

async fn totals(http: &reqwest::Client, node: &Process) -> Done<Totals> {
    let response = http.get(format!("{}/totals", node.url())).send().await?;
    Ok(response.error_for_status()?.json().await?)
}

/// Closes the followers, and then the leader. The length of all journals is the result.
async fn close(http: &reqwest::Client, nodes: &mut [Process]) -> Done<usize> {
    let leader = leader(http, nodes).await?;
    for (number, node) in nodes.iter_mut().enumerate() {
        if number != leader {
            node.close()?;
        }
    }
    let mut journals = Vec::new();
    for node in nodes {
        node.close()?;
        journals.push(node.journal()?);
    }
    let first = journals.first().ok_or("there is no node")?;
    match journals.iter().all(|journal| journal == first) {
        true => Ok(first.len()),
        false => Err("the journals differ".into()),
    }
}
