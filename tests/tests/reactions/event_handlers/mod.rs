//! Event handlers: calls of the world outside, in order per key, at least once; their commands exactly once.

mod failures;
mod operators;
mod order;
mod restarts;
mod world;
