//! Keyed process managers: whose event it is, what is due when, what fails, and how it is operated.

mod away;
mod correlating;
mod counting;
mod deadlines;
mod failures;
mod judge;
mod lettered;
mod meanwhile;
mod operating;
mod outcomes;
mod policies;
mod rebuilding;
mod retried;
mod several;
mod starting;
mod staying;
mod tables;
mod tracker;
mod without_key;
