use std::path::{Path, PathBuf};

/// The paths of all files below the base directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    base: PathBuf,
}

impl Layout {
    pub(crate) fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
        }
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn meta(&self) -> PathBuf {
        self.base.join("meta")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.base.join("meta/lock")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.base.join("meta/checkpoint.json")
    }

    /// The runs that locate the events of streams.
    pub(crate) fn index(&self) -> PathBuf {
        self.base.join("meta/index")
    }

    /// The runs of snapshots.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.base.join("meta/snapshots")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.base.join("meta/journal")
    }

    pub(crate) fn journal_file(&self) -> PathBuf {
        self.base.join("meta/journal/app.jsonl")
    }

    /// The note that the journal belongs to a node of a replicated store.
    pub(crate) fn joined(&self) -> PathBuf {
        self.base.join("meta/journal/replicated.json")
    }

    /// Exists while a backup is made in this directory. Segments may then exist that the active file does not need yet.
    pub(crate) fn unfinished_backup(&self) -> PathBuf {
        self.base.join("meta/journal/unfinished-backup")
    }

    /// The file that keeps the bytes of an incomplete last batch for inspection.
    pub(crate) fn incomplete_batch(&self, batch: u64) -> PathBuf {
        self.journal()
            .join(format!("incomplete-batch-{batch}.jsonl"))
    }

    pub(crate) fn process_managers(&self) -> PathBuf {
        self.base.join("process_managers")
    }

    pub(crate) fn process_manager(&self, name: &str) -> PathBuf {
        self.process_managers().join(name)
    }

    pub(crate) fn process_manager_checkpoint(&self, name: &str) -> PathBuf {
        self.process_manager(name).join("checkpoint.json")
    }

    pub(crate) fn dead_letters(&self, name: &str) -> PathBuf {
        self.process_manager(name).join("dead_letters.jsonl")
    }

    /// The table of the rows of a process manager.
    pub(crate) fn row_table(&self, name: &str) -> PathBuf {
        self.process_manager(name).join("instances.redb")
    }

    /// The starts of the program in which a process manager has made no progress.
    pub(crate) fn process_manager_starts(&self, name: &str) -> PathBuf {
        self.process_manager(name).join("starts.json")
    }

    pub(crate) fn projections(&self) -> PathBuf {
        self.base.join("projections")
    }

    pub(crate) fn projection(&self, name: &str) -> PathBuf {
        self.projections().join(name)
    }

    pub(crate) fn projection_checkpoint(&self, name: &str) -> PathBuf {
        self.projection(name).join("checkpoint.json")
    }

    /// The table of the rows of a projection with `key`.
    pub(crate) fn projection_rows(&self, name: &str) -> PathBuf {
        self.projection(name).join("rows.redb")
    }
}
