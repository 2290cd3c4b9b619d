//! A disk that records what is done to it, a model of what a crash makes of that record, and a disk that fails on request.
//!
//! - [`RecordingDisk`] performs every operation on a real directory and logs those that change something: a [`Recording`].
//! - [`DiskModel`] replays a recording and builds a [`CrashImage`]: what a kill or a power loss can leave behind. Its
//!   documentation states the model.
//! - [`FaultyDisk`] makes chosen calls fail or come up short.

mod crash_image;
mod fault;
mod faulty_disk;
mod model;
mod namespace;
mod op;
mod pages;
mod random;
mod recorder;
mod recording;
mod survival;

pub use crash_image::CrashImage;
pub use fault::{Failure, Fault, Hit, Operation};
pub use faulty_disk::FaultyDisk;
pub use model::{DiskModel, LogError};
pub use op::{DiskOp, FileId, SECTOR};
pub use random::SplitMix64;
pub use recorder::RecordingDisk;
pub use recording::{Mark, Recording};
pub use survival::Survival;
