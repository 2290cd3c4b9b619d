//! The files that are derived from the journal, and the checkpoint that names them.

pub(in crate::journal::local) mod checkpoint;
pub(in crate::journal::local) mod derived;
pub(in crate::journal::local) mod jobs;
pub(in crate::journal::local) mod pulse;
pub(in crate::journal::local) mod under_way;
