//! A directory of JSON files as a sink.
//!
//! ```text
//! <directory>/<projection>.lock             locked by a transaction
//! <directory>/<projection>/manifest.json    {"progress": .., "next": 8, "files": {"ada": "7.json"}}
//! <directory>/<projection>/7.json           the value of the key `ada`
//! ```
//!
//! A transaction writes each changed value to a file with a new name. Then it replaces the manifest, in one rename. Until the
//! rename the old manifest is valid, with the old files; after it the new manifest, with the new files and the new progress.
//! One transaction at a time has the lock of the directory. Another process may have the same sink, and so may a call that hung and was
//! given up.
//!
//! The files without a place in the manifest are removed after the rename, and when the sink connects: those of a crash.
//!
//! Each transaction writes the whole manifest, so this suits some thousand keys. A database suits more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use eventfold_es::Sink;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fuel::Fuel;

const MANIFEST: &str = "manifest.json";
const NEW_MANIFEST: &str = "manifest.json.new";

/// The error of a [`Folder`].
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// A directory of JSON files.
#[derive(Debug, Clone)]
pub struct Folder {
    directory: PathBuf,
    fuel: Fuel,
}

impl Folder {
    pub fn new(directory: PathBuf, fuel: Fuel) -> Self {
        Self { directory, fuel }
    }
}

/// The valid files of a projection, and its progress.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Manifest {
    /// None before the first transaction.
    progress: Option<String>,
    /// The number of the next new file.
    next: u64,
    /// The name of the file of each key.
    files: BTreeMap<String, String>,
}

impl Manifest {
    fn read(directory: &Path) -> Result<Self, FolderError> {
        match fs::read(directory.join(MANIFEST)) {
            Ok(json) => Ok(serde_json::from_slice(&json)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The values of all keys, for a reader.
///
/// A reader that runs beside the store reads again if a file is missing: a newer manifest has replaced its own.
pub fn read_all<T: DeserializeOwned>(directory: &Path) -> Result<BTreeMap<String, T>, FolderError> {
    let files = Manifest::read(directory)?.files.into_iter();
    files
        .map(|(key, name)| {
            Ok((
                key,
                serde_json::from_slice(&fs::read(directory.join(name))?)?,
            ))
        })
        .collect()
}

/// The changes of one transaction, in memory until the commit.
#[derive(Debug)]
pub struct FolderTx {
    directory: PathBuf,
    files: BTreeMap<String, String>,
    /// The new JSON of each changed key.
    changed: BTreeMap<String, Vec<u8>>,
}

impl FolderTx {
    /// The value of a key, with the changes of this transaction.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, FolderError> {
        let json = match (self.changed.get(key), self.files.get(key)) {
            (Some(json), _) => json.clone(),
            (None, Some(name)) => fs::read(self.directory.join(name))?,
            (None, None) => return Ok(None),
        };
        Ok(Some(serde_json::from_slice(&json)?))
    }

    /// Sets the value of a key.
    pub fn write(&mut self, key: &str, value: &impl Serialize) -> Result<(), FolderError> {
        self.changed
            .insert(key.to_owned(), serde_json::to_vec(value)?);
        Ok(())
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        self.files.clear();
        self.changed.clear();
    }
}

impl Sink for Folder {
    type Connection = Self;
    type Tx<'t> = FolderTx;
    type Error = FolderError;

    fn connect(&self) -> Result<Self, FolderError> {
        fs::create_dir_all(&self.directory)?;
        Ok(self.clone())
    }

    fn transact(
        connection: &mut Self,
        projection: &str,
        work: &mut dyn FnMut(&mut FolderTx, Option<&str>) -> Option<String>,
    ) -> Result<(), FolderError> {
        let directory = connection.directory.join(projection);
        fs::create_dir_all(&directory)?;
        let lock = File::create(connection.directory.join(format!("{projection}.lock")))?;
        lock.lock()?;
        let mut manifest = Manifest::read(&directory)?;
        let mut tx = FolderTx {
            directory: directory.clone(),
            files: manifest.files,
            changed: BTreeMap::new(),
        };
        // Nothing is written before `work` ends, so a rollback has nothing to do.
        let Some(progress) = work(&mut tx, manifest.progress.as_deref()) else {
            return Ok(());
        };
        manifest.files = tx.files;
        for (key, json) in tx.changed {
            let name = format!("{}.json", manifest.next);
            manifest.next += 1;
            connection.write(&directory.join(&name), &json)?;
            manifest.files.insert(key, name);
        }
        manifest.progress = Some(progress);
        connection.replace(&directory, &manifest)?;
        connection.remove_others(&directory, &manifest)
    }
}

impl Folder {
    /// Writes a file durably, over what a crash has left under its name.
    fn write(&self, path: &Path, content: &[u8]) -> Result<(), FolderError> {
        self.fuel.burn()?;
        let mut file = File::create(path)?;
        let (half, rest) = content.split_at(content.len() / 2);
        file.write_all(half)?;
        self.fuel.burn()?;
        file.write_all(rest)?;
        file.sync_all()?;
        Ok(())
    }

    /// Makes a manifest the valid one.
    fn replace(&self, directory: &Path, manifest: &Manifest) -> Result<(), FolderError> {
        let new = directory.join(NEW_MANIFEST);
        self.write(&new, &serde_json::to_vec(manifest)?)?;
        self.fuel.burn()?;
        fs::rename(&new, directory.join(MANIFEST))?;
        // After a power loss the directory would otherwise have the old name for the old file.
        self.fuel.burn()?;
        File::open(directory)?.sync_all()?;
        Ok(())
    }

    /// Removes the files that are not valid: those that the transaction has replaced, and those of a crash before it.
    fn remove_others(&self, directory: &Path, manifest: &Manifest) -> Result<(), FolderError> {
        let valid: BTreeSet<_> = manifest.files.values().map(String::as_str).collect();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != MANIFEST && !name.to_str().is_some_and(|name| valid.contains(name)) {
                self.fuel.burn()?;
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
