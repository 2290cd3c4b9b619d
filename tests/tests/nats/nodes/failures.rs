//! A campaign of random failures of nodes, of their ways, and of the NATS servers.

use eventfold_es::disk::SplitMix64;

use super::campaign;
use super::cluster::NODES;
use super::engine::{LOG, Server, Ways};
use super::partition::isolate;
use super::proxy::Link;
use super::routes::Routes;

/// Three servers, and the ways between them.
struct Nats {
    servers: Server,
    routes: Routes,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    KillLeader,
    Kill,
    KillAll,
    PauseLeader,
    Pause,
    /// A server is cut off from the others, with one node.
    Isolate,
}

#[derive(Debug)]
enum Trouble {
    Killed(Vec<usize>),
    Paused(usize),
    Isolated { server: usize, node: usize },
}

impl campaign::Servers for Nats {
    type Failure = Failure;
    type Trouble = Trouble;
    const FAILURES: &'static [Failure] = &[
        Failure::KillLeader,
        Failure::Kill,
        Failure::KillAll,
        Failure::PauseLeader,
        Failure::Pause,
        Failure::Isolate,
    ];

    fn start() -> Option<Self> {
        let (routes, servers) = Routes::and_servers()?;
        Some(Self { servers, routes })
    }

    fn server(&self) -> &Server {
        &self.servers
    }

    fn begin(&mut self, failure: Failure, ways: &Ways, random: &mut SplitMix64) -> Trouble {
        let any = random.below(self.servers.count());
        match failure {
            Failure::KillLeader => self.kill(vec![self.servers.leader(LOG)]),
            Failure::Kill => self.kill(vec![any]),
            Failure::KillAll => self.kill((0..self.servers.count()).collect()),
            Failure::PauseLeader => self.pause(self.servers.leader(LOG)),
            Failure::Pause => self.pause(any),
            Failure::Isolate => {
                let node = random.below(NODES);
                let link = Link::bad(random);
                isolate((&self.servers, &self.routes, ways), any, node, link);
                Trouble::Isolated { server: any, node }
            }
        }
    }

    fn end(&mut self, trouble: Trouble, ways: &Ways) {
        match trouble {
            Trouble::Killed(servers) => {
                servers.into_iter().for_each(|one| self.servers.resume(one))
            }
            Trouble::Paused(server) => self.servers.go_on(server),
            Trouble::Isolated { server, node } => {
                isolate(
                    (&self.servers, &self.routes, ways),
                    server,
                    node,
                    Link::Open,
                );
            }
        }
    }
}

impl Nats {
    fn kill(&mut self, servers: Vec<usize>) -> Trouble {
        servers.iter().for_each(|server| self.servers.kill(*server));
        Trouble::Killed(servers)
    }

    fn pause(&self, server: usize) -> Trouble {
        self.servers.pause(server);
        Trouble::Paused(server)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_failures() {
    campaign::run::<Nats>("random failures with NATS");
}
