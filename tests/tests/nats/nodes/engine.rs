//! The log of the nodes in NATS, and their ways to the servers.

use eventfold_es::replication::NatsLog;

use super::proxy::{Link, Proxy};
pub use crate::servers::Servers as Server;

/// Its name.
pub const LOG: &str = "tallies";

/// Servers that run, unless there is no binary.
pub fn running() -> Option<Server> {
    Server::three()
}

/// The log on the servers at these addresses.
pub fn connect(addresses: &str) -> NatsLog {
    NatsLog::connect(addresses, LOG)
}

/// Each node reaches each server through a proxy of its own, if the servers do not tell their own addresses.
pub struct Ways {
    direct: String,
    /// For each node, the ways to all servers.
    proxies: Vec<Vec<Proxy>>,
}

impl Ways {
    pub fn to(servers: &Server, nodes: usize) -> Self {
        let to_all = || {
            let ports = (0..servers.count()).map(|server| servers.port(server));
            ports.map(Proxy::start).collect()
        };
        Self {
            direct: servers.addresses("store"),
            proxies: (0..nodes).map(|_| to_all()).collect(),
        }
    }

    /// The address of the log for the test itself.
    pub fn direct(&self) -> &str {
        &self.direct
    }

    /// The address of the log for a node.
    pub fn of(&self, node: usize) -> String {
        let address = |proxy: &Proxy| format!("nats://store:hunter2@127.0.0.1:{}", proxy.port());
        let addresses: Vec<_> = self.proxies[node].iter().map(address).collect();
        addresses.join(",")
    }

    /// Changes the ways of a node to all servers.
    pub fn set(&self, node: usize, link: Link) {
        self.proxies[node].iter().for_each(|proxy| proxy.set(link));
    }

    /// Changes the way of a node to a server.
    pub fn set_to(&self, node: usize, server: usize, link: Link) {
        self.proxies[node][server].set(link);
    }
}
