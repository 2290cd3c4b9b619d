//! What a store of many short streams takes on the disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use eventfold_es::AggregateStore;

use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, runtime};

pub(crate) const NAMES: &[&str] = &["disk_per_event_ratio", "inodes_300k"];

const STREAMS: usize = 300_000;
/// How many streams are exported to learn how long the line of an event is: all are equally long.
const EXPORTED: usize = 100;
/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let few = scratch.store_of(EXPORTED)?;
    let exported = runtime()?.block_on(async {
        let store = AggregateStore::open(few).await?;
        let exported = store.export_streams(scratch.join("lines")).await?;
        store.close().await?;
        Ok::<_, Failure>(exported)
    })?;
    let line = exported.bytes as f64 / exported.events as f64;

    let taken = taken_by(&scratch.store_of(STREAMS)?)?;
    let ratio = taken.bytes as f64 / (line * STREAMS as f64);
    report.value("disk_per_event_ratio", ratio, Limit::Under(1.5));
    report.comment(&format!("{line} bytes are the line of an event"));
    report.value("inodes_300k", taken.inodes as f64, Limit::Under(100.0));
    Ok(())
}

#[derive(Default)]
struct Taken {
    /// Of whole blocks, as `du` counts them.
    bytes: u64,
    inodes: u64,
}

/// What a directory takes with everything in it.
fn taken_by(path: &Path) -> Result<Taken, Failure> {
    let metadata = fs::symlink_metadata(path)?;
    let mut taken = Taken {
        bytes: metadata.blocks() * BLOCK_BYTES,
        inodes: 1,
    };
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            let inside = taken_by(&entry?.path())?;
            taken.bytes += inside.bytes;
            taken.inodes += inside.inodes;
        }
    }
    Ok(taken)
}
