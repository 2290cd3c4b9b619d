//! A disk that records its operations, a model of the state after a crash, and a disk that fails on request.
//!
//! - [`RecordingDisk`] performs every operation on a real directory, and logs those that change something: a [`Recording`].
//! - [`DiskModel`] replays a recording and builds a [`CrashImage`]: a possible state after a kill or a power loss. Its
//!   documentation states the model.
//! - [`FaultyDisk`] makes chosen calls fail or transfer too few bytes.
//! - [`SlowDisk`] makes each sync take a given time.

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
mod slow_disk;
mod survival;

pub use crash_image::CrashImage;
pub use fault::{Failure, Fault, Hit, Operation};
pub use faulty_disk::FaultyDisk;
pub use model::{DiskModel, LogError};
pub use op::{DiskOp, FileId, SECTOR};
pub use random::SplitMix64;
pub use recorder::RecordingDisk;
pub use recording::{Mark, Recording};
pub use slow_disk::SlowDisk;
pub use survival::Survival;
