//! Three nodes as processes over three NATS servers, while processes fail. The nodes, their clients and the check of their history are those
//! of the tests with PostgreSQL.
//!
//! `EVENTFOLD_NODE_ROUNDS=50` repeats each failure, and `EVENTFOLD_CRASH_SEED=7` chooses other moments.

// Each engine uses a part of them.
#[allow(dead_code)]
#[path = "../../postgres/nodes/clients.rs"]
mod clients;
mod cluster;
#[path = "../../postgres/nodes/domain.rs"]
mod domain;
mod engine;
#[path = "../../postgres/nodes/history.rs"]
mod history;
mod leader;
mod program;
mod servers;

use std::sync::Arc;

use eventfold_es::disk::SplitMix64;
use eventfold_es_tests::campaign::number;

use self::clients::{Clients, Temper};
use self::cluster::Cluster;
use crate::servers::Servers;

/// A running cluster with clients.
struct Scene {
    cluster: Arc<Cluster>,
    clients: Clients,
    random: SplitMix64,
    seed: u64,
    name: &'static str,
}

/// The number of repetitions of a failure.
fn rounds(ordinary: u64) -> u64 {
    number("EVENTFOLD_NODE_ROUNDS").unwrap_or(ordinary)
}

impl Scene {
    /// Three nodes, and eight hasty clients.
    async fn start(name: &'static str, servers: &Servers) -> Self {
        Self::start_with(name, servers, &[Temper::Hasty; 8]).await
    }

    async fn start_with(name: &'static str, servers: &Servers, tempers: &[Temper]) -> Self {
        let seed = number("EVENTFOLD_CRASH_SEED").unwrap_or(20_260_101);
        let mut random = SplitMix64::new(seed);
        let cluster = Arc::new(Cluster::start(servers).await);
        let clients = Clients::start(&cluster, tempers, &mut random);
        Self {
            cluster,
            clients,
            random,
            seed,
            name,
        }
    }

    /// Ends the clients, and checks the history.
    async fn finish(self) {
        let Self { name, seed, .. } = self;
        let operations = self.clients.finish().await;
        let cluster = Arc::into_inner(self.cluster).expect("the clients have ended");
        let events = cluster.finish(&operations).await;
        let sent = operations.len();
        println!("{name}: {sent} commands, {events} events, 0 violations (seed {seed})");
    }
}
