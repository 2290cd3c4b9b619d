//! Opening a store on a read-only file system.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::disk::{FileError, Files, OpenMode};
use crate::error::OpenError;
use crate::journal::adoption;
use crate::journal::local::layout::Layout;
use crate::journal::local::recovery::{Recovered, recover};
use crate::threads::StoreRuntime;

/// A recovered directory, and how it can be used.
pub(in crate::journal::local) struct Opened {
    /// The files from which the results of recovery can be read.
    pub(in crate::journal::local) files: Files,
    pub(in crate::journal::local) recovered: Recovered,
    /// The directory and the reason, if nothing can be written.
    pub(in crate::journal::local) read_only: Option<Arc<str>>,
}

/// Recovers a directory. If it has a store and is on a read-only file system, it is recovered in memory.
pub(in crate::journal::local) fn recover_where_possible(
    files: Files,
    layout: &Layout,
    rebuild: bool,
    threads: &StoreRuntime,
) -> Result<Opened, OpenError> {
    let error = match recover(&files, layout, rebuild, threads) {
        Ok(recovered) => {
            return Ok(Opened {
                files,
                recovered,
                read_only: None,
            });
        }
        Err(error) => error,
    };
    let Some(reason) = read_only_reason(&files, layout, &error)? else {
        return Err(error);
    };
    let files = files.overlaid();
    let mut recovered = recover(&files, layout, rebuild, threads)?;
    recovered.report.read_only = true;
    tracing::warn!(%reason, "the store can be read, but not written");
    Ok(Opened {
        files,
        recovered,
        read_only: Some(reason.into()),
    })
}

/// The reason why no process can write the store of the directory, if recovery failed because of it.
fn read_only_reason(
    files: &Files,
    layout: &Layout,
    error: &OpenError,
) -> Result<Option<String>, FileError> {
    let OpenError::File(error) = error else {
        return Ok(None);
    };
    // Read-only file systems return different errors when a directory is synced.
    let is_odd_sync = error.is_failed_sync()
        && matches!(
            error.source.kind(),
            ErrorKind::InvalidInput | ErrorKind::Unsupported
        );
    if !error.is_read_only() && !is_odd_sync {
        return Ok(None);
    }
    let reason = |error: &FileError| {
        let base = layout.base().display();
        format!("the store at {base} is read-only: {}", error.source)
    };
    if files.exists(&layout.journal_file())? {
        // A file system on which the lock file can be written is not read-only.
        return Ok(match files.open(&layout.lock(), OpenMode::Write) {
            Err(error) if error.is_read_only() => Some(reason(&error)),
            _ => None,
        });
    }
    let is_old = error.is_read_only() && adoption::is_due(files, layout)?;
    Ok(is_old.then(|| reason(error)))
}
