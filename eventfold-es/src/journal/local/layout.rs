use std::path::{Path, PathBuf};

/// Where everything is below the base directory.
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

    /// The runs that tell where the events of streams are.
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

    /// Is there while a backup is being made in the directory: segments may be there that the active file does not need yet.
    pub(crate) fn unfinished_backup(&self) -> PathBuf {
        self.base.join("meta/journal/unfinished-backup")
    }

    /// Where the bytes of an incomplete last batch are kept for inspection.
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

    /// What starts of the program a process manager has made no progress in.
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
}
