//! Event handlers: calls of the world outside, in order per key, at least once; their commands exactly once.

mod aborts;
mod failures;
mod operators;
mod order;
mod restarts;
mod runtime_ends;
mod world;
