//! Everything that generated code names, and nothing else. Not part of the public API.

pub use core;
pub use std;

pub use eventfold::Event;

pub use crate::names;
