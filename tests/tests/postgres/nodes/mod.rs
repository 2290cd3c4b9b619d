//! Three nodes as processes over one PostgreSQL server, while processes and connections fail.
//!
//! `EVENTFOLD_NODE_ROUNDS=50` repeats each failure, and `EVENTFOLD_CRASH_SEED=7` chooses other moments.

mod directories;
mod engine;
mod failures;
mod leader;
mod links;
mod servers;

#[path = "../../node_processes/campaign.rs"]
mod campaign;
#[allow(dead_code, reason = "each engine uses a part of it")]
#[path = "../../node_processes/clients.rs"]
mod clients;
#[path = "../../node_processes/clocks.rs"]
mod clocks;
#[path = "../../node_processes/cluster.rs"]
mod cluster;
#[path = "../../node_processes/damage.rs"]
mod damage;
#[path = "../../node_processes/domain.rs"]
mod domain;
#[path = "../../node_processes/dying.rs"]
mod dying;
#[path = "../../node_processes/history.rs"]
mod history;
#[path = "../../node_processes/program.rs"]
mod program;
#[path = "../../node_processes/proxy.rs"]
mod proxy;
#[path = "../../node_processes/scene.rs"]
mod scene;
#[path = "../../node_processes/steps.rs"]
mod steps;
#[path = "../../node_processes/upgrades.rs"]
mod upgrades;

pub use self::cluster::keep_after_failure;
use self::scene::{Scene, rounds};
