//! The way of a commit from the queue to the disk.

pub(in crate::journal::local) mod backlog;
pub(in crate::journal::local) mod batch;
mod gather;
pub(in crate::journal::local) mod linger;
pub(in crate::journal) mod queue;
pub(in crate::journal::local) mod writer;
