//! Three nodes as processes over one PostgreSQL server, while processes and connections fail.
//!
//! `EVENTFOLD_NODE_ROUNDS=50` repeats each failure, and `EVENTFOLD_CRASH_SEED=7` chooses other moments.

mod directories;
mod engine;
mod leader;
mod links;
mod proxy;
mod servers;

#[path = "../../node_processes/clients.rs"]
mod clients;
#[path = "../../node_processes/cluster.rs"]
mod cluster;
#[path = "../../node_processes/domain.rs"]
mod domain;
#[path = "../../node_processes/history.rs"]
mod history;
#[path = "../../node_processes/program.rs"]
mod program;
#[path = "../../node_processes/scene.rs"]
mod scene;

use self::scene::{Scene, rounds};
