//! Three nodes as processes over three NATS servers, while processes fail. The nodes, their clients and the check of their history are those
//! of the tests with PostgreSQL.
//!
//! `EVENTFOLD_NODE_ROUNDS=50` repeats each failure, and `EVENTFOLD_CRASH_SEED=7` chooses other moments.

mod engine;
mod leader;
mod servers;

#[allow(dead_code, reason = "each engine uses a part of it")]
#[path = "../../node_processes/clients.rs"]
mod clients;
#[allow(dead_code, reason = "each engine uses a part of it")]
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
