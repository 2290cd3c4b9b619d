//! The replicated log below the nodes, and its servers.

use std::any::Any;
use std::error::Error;
use std::path::Path;

use eventfold_es::AggregateStoreBuilder;
use eventfold_es::replication::{NatsLog, PostgresLog};

use crate::nats::{self, NatsServers};
use crate::postgres::PostgresServer;

/// The name of the log, among those on the same servers.
const LOG: &str = "orders";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Nats,
    Postgres,
}

/// Servers that run until this value is dropped.
pub struct Servers {
    pub url: String,
    _running: Box<dyn Any>,
}

impl Engine {
    /// NATS, if its server is here.
    pub fn of_this_machine() -> Self {
        match nats::binary() {
            Some(_) => Self::Nats,
            None => Self::Postgres,
        }
    }

    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "nats" => Ok(Self::Nats),
            "postgres" => Ok(Self::Postgres),
            other => Err(format!(
                "the engine `{other}` is unknown: choose `nats` or `postgres`"
            )),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Postgres => "postgres",
        }
    }

    /// The only difference between a store on one machine and a node.
    pub fn replicated(self, builder: AggregateStoreBuilder, url: &str) -> AggregateStoreBuilder {
        match self {
            Self::Nats => builder.replicated(NatsLog::connect(url, LOG)),
            Self::Postgres => builder.replicated(PostgresLog::connect(url, LOG)),
        }
    }

    /// Starts its servers on loopback, in a directory.
    pub fn start(self, directory: &Path) -> Result<Servers, Box<dyn Error>> {
        match self {
            Self::Nats => {
                let servers = NatsServers::start(directory)?;
                Ok(Servers {
                    url: servers.url(),
                    _running: Box::new(servers),
                })
            }
            Self::Postgres => {
                let server = PostgresServer::start(directory)?;
                Ok(Servers {
                    url: server.url(),
                    _running: Box::new(server),
                })
            }
        }
    }
}
