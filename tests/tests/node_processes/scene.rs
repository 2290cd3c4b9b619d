//! A running cluster with clients, for one test.

use std::sync::Arc;
use std::time::Duration;

use eventfold_es::disk::SplitMix64;
use eventfold_es_tests::campaign::number;

use super::clients::{Clients, Temper};
use super::cluster::Cluster;
use super::engine::Server;

/// A running cluster with clients.
pub struct Scene {
    pub cluster: Arc<Cluster>,
    pub clients: Clients,
    pub random: SplitMix64,
    seed: u64,
    name: &'static str,
}

/// The number of repetitions of a failure.
pub fn rounds(ordinary: u64) -> u64 {
    number("EVENTFOLD_NODE_ROUNDS").unwrap_or(ordinary)
}

/// The seed of the moments.
pub fn seed() -> u64 {
    number("EVENTFOLD_CRASH_SEED").unwrap_or(20_260_101)
}

impl Scene {
    /// Three nodes, and eight hasty clients.
    pub async fn start(name: &'static str, server: &Server) -> Self {
        Self::start_with(name, server, &[Temper::Hasty; 8]).await
    }

    pub async fn start_with(name: &'static str, server: &Server, tempers: &[Temper]) -> Self {
        Self::start_from(seed(), name, server, tempers, Duration::ZERO).await
    }

    /// Each client rests for `pause` between two commands.
    pub async fn start_from(
        seed: u64,
        name: &'static str,
        server: &Server,
        tempers: &[Temper],
        pause: Duration,
    ) -> Self {
        let mut random = SplitMix64::new(seed);
        let cluster = Arc::new(Cluster::start(server).await);
        let clients = Clients::start(&cluster, tempers, pause, &mut random);
        Self {
            cluster,
            clients,
            random,
            seed,
            name,
        }
    }

    /// Ends the clients, and checks the history. The number of commands is the result.
    pub async fn finish(self) -> usize {
        let Self { name, seed, .. } = self;
        let operations = self.clients.finish().await;
        let cluster = Arc::into_inner(self.cluster).expect("the clients have ended");
        let events = cluster.finish(&operations).await;
        let sent = operations.len();
        println!("{name}: {sent} commands, {events} events, 0 violations (seed {seed})");
        sent
    }
}
