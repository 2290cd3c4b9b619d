//! Projections into PostgreSQL, and the log of several nodes in it. Each test has a database of its own, in a server that the tests start:
//! `cargo test -p eventfold-es-tests --features postgres --test postgres`.

mod connecting;
mod failures;
mod following;
mod hanging;
mod killed;
mod log;
mod nodes;
mod pad;
mod restored;
mod server;
mod tls;
