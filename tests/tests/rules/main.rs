//! The rules that crash safety stands on, one test each, by their number in the design. Most of them are covered wherever
//! crashes are enumerated; here each one is named, shown where it matters, and seen to fail without its code.
//!
//! Not here yet, because what they are about is not there: 12 (rotation), 14 (`Durability::Flush`), 15 (adoption).

#[path = "../common/mod.rs"]
mod common;

mod deciding;
mod deriving;
mod opening;
mod undone;
mod writing;
