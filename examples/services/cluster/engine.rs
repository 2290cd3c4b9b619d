//! The replicated log below the nodes, and its servers.

use std::error::Error;
use std::path::Path;

use eventfold_es::AggregateStoreBuilder;
use eventfold_es::replication::PostgresLog;

use crate::postgres::PostgresServer;

/// The name of the log, among those on the same servers.
const LOG: &str = "orders";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Postgres,
}

/// Servers that run until this value is dropped.
pub struct Servers {
    pub url: String,
    _running: PostgresServer,
}

impl Engine {
    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "postgres" => Ok(Self::Postgres),
            other => Err(format!(
                "the engine `{other}` is unknown: choose `postgres`"
            )),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
        }
    }

    /// The only difference between a store on one machine and a node.
    pub fn replicated(self, builder: AggregateStoreBuilder, url: &str) -> AggregateStoreBuilder {
        match self {
            Self::Postgres => builder.replicated(PostgresLog::connect(url, LOG)),
        }
    }

    /// Starts its servers on loopback, in a directory.
    pub fn start(self, directory: &Path) -> Result<Servers, Box<dyn Error>> {
        match self {
            Self::Postgres => {
                let server = PostgresServer::start(directory)?;
                Ok(Servers {
                    url: server.url(),
                    _running: server,
                })
            }
        }
    }
}
