//! The log in NATS JetStream, on real servers that the tests start: `tests/servers/nats.sh` fetches the server, and
//! `cargo test -p eventfold-es-tests --features nats --test nats` runs them. Without the server, they say so and pass.

mod admin;
mod clients;
mod conformance;
mod failures;
mod handing_over;
mod lies;
mod nodes;
mod servers;
mod wrong_servers;

#[path = "../node_processes/handovers.rs"]
mod handovers;
