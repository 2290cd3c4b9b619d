//! What the crash tests share: a domain whose every effect can be counted, what a workload notes while it runs, and the check
//! of a directory after a crash.

mod audit;
mod bench;
mod check;
pub mod domain;
mod enumerate;
mod fixture;
mod handlers;
pub mod instances;
mod note;
mod place;
mod retry;
mod workload;

pub use audit::{Audit, audit};
pub use bench::Bench;
pub use check::{Check, check};
pub use enumerate::{Campaign, Totals};
pub use fixture::Fixture;
pub use handlers::Post;
pub use note::{Expected, Note};
pub use place::{Place, scratch};
pub use retry::retry;
pub use workload::{Client, Members, builder, open_on};
