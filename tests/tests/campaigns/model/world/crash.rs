//! Crashes of a [`World`].

use std::path::PathBuf;

use eventfold_es::disk::{CrashImage, DiskOp, Recording, RecordingDisk, Survival};

use super::{Log, Setup, World, open, text};
use crate::model::operations::Lost;

impl World {
    /// Ends the store, which the recording is cut before.
    pub(super) async fn killed_store(&mut self) -> Result<Recording, String> {
        self.store.clone().close().await.map_err(text)?;
        Ok(self.disk.recording())
    }

    pub(super) fn moment(&self, recording: &Recording, back: usize) -> usize {
        let end = recording.len();
        end - back.min(end - recording.start())
    }

    /// How many events must have survived a crash here.
    pub(super) fn kept_by(&self, cut: &Recording) -> u64 {
        let marks = cut
            .marks()
            .iter()
            .filter_map(|mark| mark.label.parse::<u64>().ok());
        marks.max().unwrap_or_default().max(self.floor)
    }

    pub(super) fn materialise(&mut self, image: &CrashImage) -> Result<PathBuf, String> {
        self.images += 1;
        let root = self.place.path().join(self.images.to_string());
        image.materialise(&root).map_err(text)?;
        Ok(root)
    }

    /// Opens what a crash has left, and takes the model back to it.
    pub(super) async fn open_again(
        &mut self,
        disk: RecordingDisk,
        root: PathBuf,
        setup: Setup,
    ) -> Result<(), String> {
        let kept = self.kept_by(&disk.recording());
        let old = std::mem::replace(&mut self.root, root);
        self.store = open(&disk, &self.root, setup).await?;
        (self.disk, self.setup) = (disk, setup);
        std::fs::remove_dir_all(old).map_err(text)?;
        let log = self.store.projection::<Log>().await.map_err(text)?;
        let log = &log.seen;
        let known = &self.shadow.log;
        let survived = log
            .iter()
            .zip(known)
            .take_while(|(found, known)| found == known);
        let survived = survived.count();
        if (survived as u64) < kept.min(known.len() as u64) {
            return Err(format!(
                "{kept} events were acknowledged, and only {survived} are there as they were; then comes {:?} instead of {:?}",
                log.get(survived),
                known.get(survived)
            ));
        }
        if survived < known.len() {
            // What was abandoned later is lost with it.
            self.shadow = self.shadow.back_to(survived)?;
            self.open.clear();
        }
        self.shadow.absorb(&log[survived..], &mut self.open)?;
        self.open.clear();
        if (self.shadow.log.len() as u64) < kept {
            return Err(format!(
                "{kept} events were acknowledged, and {} are there",
                self.shadow.log.len()
            ));
        }
        self.disk.mark(self.shadow.log.len().to_string());
        Ok(())
    }
}

impl Lost {
    pub(super) fn survival(self) -> Survival {
        match self {
            Self::Everything => Survival::Nothing,
            Self::Bytes => Survival::LengthsOnly,
            Self::Names => Survival::ContentOnly,
            Self::Some(seed) => Survival::Random(seed),
        }
    }
}

/// The last moment up to `k` at which the journal was just written, and not yet synced.
pub(super) fn behind_a_write_to_the_journal(recording: &Recording, k: usize) -> usize {
    let run = &recording.ops()[recording.start()..k];
    let write = run.iter().rposition(
        |op| matches!(op, DiskOp::Write { path, .. } if path.ends_with("meta/journal/app.jsonl")),
    );
    write.map_or(k, |write| recording.start() + write + 1)
}
