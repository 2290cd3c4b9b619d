//! The log of the nodes in PostgreSQL, and their ways to the server.

use eventfold_es::replication::PostgresLog;

use super::proxy::Proxy;
pub use crate::server::Server;

/// The log in its database.
const LOG: &str = "tallies";

pub fn connect(url: &str) -> PostgresLog {
    PostgresLog::connect(url, LOG)
}

/// Sends a signal to a process, which may have ended.
pub fn signal(name: &str, process: u32) {
    crate::server::signal(&format!("-{name}"), [process]);
}

/// Each node reaches the server through a proxy of its own.
pub struct Ways {
    url: String,
    proxies: Vec<Proxy>,
}

impl Ways {
    pub async fn to(server: &Server, nodes: usize) -> Self {
        let mut proxies = Vec::new();
        for _ in 0..nodes {
            proxies.push(Proxy::start(server.port()).await);
        }
        Self {
            url: server.database(),
            proxies,
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
        let port = self.proxy(node).port();
        format!("{user}@127.0.0.1:{port}/{database}")
    }

    pub fn proxy(&self, node: usize) -> &Proxy {
        &self.proxies[node]
    }
}
