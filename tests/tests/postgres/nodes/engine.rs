//! The log of the nodes in PostgreSQL, and their ways to the server.

use eventfold_es::replication::PostgresLog;

use super::proxy::{Link, Proxy};
pub use crate::server::Server;

/// The log in its database.
const LOG: &str = "tallies";

/// A server that runs.
pub fn running() -> Option<Server> {
    Some(Server::start(true))
}

pub fn connect(url: &str) -> PostgresLog {
    PostgresLog::connect(url, LOG)
}

/// Each node reaches the server through a proxy of its own.
pub struct Ways {
    url: String,
    proxies: Vec<Proxy>,
}

impl Ways {
    pub fn to(server: &Server, nodes: usize) -> Self {
        let proxies = (0..nodes).map(|_| Proxy::start(server.port()));
        Self {
            url: server.database(),
            proxies: proxies.collect(),
        }
    }

    /// The address of the log for the test itself.
    pub fn direct(&self) -> &str {
        &self.url
    }

    /// The address of the log for a node.
    pub fn of(&self, node: usize) -> String {
        let (user, server) = self.url.split_once("@127.0.0.1:").unwrap();
        let (_, database) = server.split_once('/').unwrap();
        let port = self.proxies[node].port();
        format!("{user}@127.0.0.1:{port}/{database}")
    }

    /// Changes the way of a node.
    pub fn set(&self, node: usize, link: Link) {
        self.proxies[node].set(link);
    }
}
