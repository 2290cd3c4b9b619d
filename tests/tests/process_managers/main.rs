//! Failure scenarios of process managers by their number in the collection, on process managers that the macro declares.
//!
//! `crashes` has those that are checked after a crash at each durable step; `chaos` is number 23.

mod chaos;
mod crashes;
mod deadlines;
mod domain;
mod failures;
mod files;
mod states;
