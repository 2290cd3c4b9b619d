//! A directory that eventfold-es 0.2.0 wrote opens, and everything in it goes on where 0.2.0 left it.

mod domain;
mod interrupted;
mod process_managers;
mod projections;
mod read_only;
mod streams;
mod torn;
