//! The rules that crash safety stands on, one test each, by their number in the design. Most of them are covered wherever
//! crashes are enumerated; here each one is named, shown where it matters, and seen to fail without its code.
//!
//! Elsewhere: 12 (rotation) in `archive`, 14 (`Durability::Flush`) in `durability_flush`, 15 (adoption) in `adoption_and_exchange::adoption`.

mod deciding;
mod deriving;
mod dropping;
mod opening;
mod sabotage;
mod undone;
mod writing;
