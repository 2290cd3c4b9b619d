//! Panics in the code of the user: they fail what was asked, and nothing else.

mod aggregates;
mod bomb;
mod clocks;
mod folds;
mod mine;
mod process_managers;
mod projections;

use eventfold_es::prelude::*;

fn context() -> CommandContext {
    CommandContext::default()
}
