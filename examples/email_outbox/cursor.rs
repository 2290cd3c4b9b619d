//! The position of the last event that a reader has handled, in a file.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

#[derive(Clone)]
pub struct Cursor {
    path: PathBuf,
}

impl Cursor {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The saved position; 0 if none was saved. A file without a number is an error, so that no e-mail is sent again by
    /// mistake.
    pub fn load(&self) -> io::Result<u64> {
        match fs::read_to_string(&self.path) {
            Ok(text) => text.trim_end().parse().map_err(|error| {
                let path = self.path.display();
                io::Error::new(ErrorKind::InvalidData, format!("{path}: {error}"))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Replaces the saved position, durably: after a crash the file has the old position or the new position.
    pub fn save(&self, position: u64) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{position}")?;
        // The rename must not become durable before the content.
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        if cfg!(unix) {
            let directory = self.path.parent().unwrap_or(Path::new("."));
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
}
