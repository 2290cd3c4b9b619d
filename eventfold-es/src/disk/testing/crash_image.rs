use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directories and files after a crash, by path relative to the recorded directory.
///
/// Images can be compared and hashed, so that equal images are checked once.
///
/// # Examples
///
/// ```
/// use eventfold_es::disk::{CrashImage, Disk, OpenMode, RecordingDisk, Survival};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let fresh = tempfile::tempdir()?;
/// let disk = RecordingDisk::new(directory.path())?;
/// let file = disk.open(&directory.path().join("a"), OpenMode::Write)?;
/// file.write_at(b"one", 0)?;
/// file.sync_data()?;
///
/// let recording = disk.recording();
/// for k in recording.start()..=recording.len() {
///     for torn in recording.tears(k) {
///         let crashed = recording.until(k, torn);
///         let killed = CrashImage::killed(&crashed)?;
///         let unplugged = CrashImage::power_loss(&crashed, &Survival::Nothing)?;
///         // A store would be opened on it now.
///         let place = fresh.path().join(format!("{k}-{torn}"));
///         killed.materialise(&place)?;
///         assert_eq!(CrashImage::read(&place)?, killed);
///         // The name was never synced.
///         assert_eq!(unplugged.file("a"), None);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CrashImage {
    /// `None` is a directory.
    entries: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

impl CrashImage {
    pub(super) fn new(entries: BTreeMap<PathBuf, Option<Vec<u8>>>) -> Self {
        Self { entries }
    }

    /// The content of a directory.
    ///
    /// # Errors
    ///
    /// Those of the file system, and `InvalidData` for anything but files and directories.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut image = Self::default();
        image.read_below(directory, Path::new(""))?;
        Ok(image)
    }

    /// Writes the image into a directory, which is created if it is missing. Nothing is synced.
    ///
    /// # Errors
    ///
    /// Those of the file system, and `DirectoryNotEmpty` if the directory is not empty.
    pub fn materialise(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        if fs::read_dir(directory)?.next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        for (path, content) in &self.entries {
            match content {
                None => fs::create_dir(directory.join(path))?,
                Some(bytes) => fs::write(directory.join(path), bytes)?,
            }
        }
        Ok(())
    }

    /// The content of a file, if it exists.
    #[must_use]
    pub fn file(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        self.entries.get(path.as_ref())?.as_deref()
    }

    /// The files with their content, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.entries
            .iter()
            .filter_map(|(path, content)| Some((path.as_path(), content.as_deref()?)))
    }

    /// The directories, each before its subdirectories.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.entries
            .iter()
            .filter(|(_, content)| content.is_none())
            .map(|(path, _)| path.as_path())
    }

    /// The first path, in order, at which two images differ.
    #[must_use]
    pub fn first_difference<'a>(&'a self, other: &'a Self) -> Option<&'a Path> {
        let paths = self.entries.keys().chain(other.entries.keys());
        paths
            .filter(|path| self.entries.get(*path) != other.entries.get(*path))
            .min()
            .map(PathBuf::as_path)
    }

    fn read_below(&mut self, directory: &Path, below: &Path) -> io::Result<()> {
        for entry in fs::read_dir(directory.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.read_below(directory, &path)?;
                self.entries.insert(path, None);
            } else if kind.is_file() {
                let content = fs::read(entry.path())?;
                self.entries.insert(path, Some(content));
            } else {
                let message = format!("{} is neither a file nor a directory", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(entries: &[(&str, Option<&[u8]>)]) -> CrashImage {
        let own = |(path, content): &(&str, Option<&[u8]>)| {
            (PathBuf::from(path), content.map(<[u8]>::to_vec))
        };
        CrashImage::new(entries.iter().map(own).collect())
    }

    #[test]
    fn what_is_written_is_read_back() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let place = directory.path().join("new/place");
        let image = image(&[
            ("d", None),
            ("d/empty", None),
            ("d/f", Some(b"content")),
            ("d.x", Some(b"")),
        ]);
        image.materialise(&place)?;
        assert_eq!(CrashImage::read(&place)?, image);
        assert_eq!(fs::read(place.join("d/f"))?, b"content");
        let directories: Vec<_> = image.directories().collect();
        assert_eq!(directories, [Path::new("d"), Path::new("d/empty")]);
        assert_eq!(image.files().count(), 2);
        assert_eq!(image.file("d"), None);

        let again = image.materialise(&place).map_err(|error| error.kind());
        assert_eq!(again, Err(io::ErrorKind::DirectoryNotEmpty));
        Ok(())
    }

    #[test]
    fn the_first_difference_is_found_on_either_side() {
        let one = image(&[("a", Some(b"1")), ("c", Some(b"1"))]);
        let two = image(&[("a", Some(b"1")), ("b", None), ("c", Some(b"2"))]);
        assert_eq!(one.first_difference(&one), None);
        assert_eq!(one.first_difference(&two), Some(Path::new("b")));
        assert_eq!(two.first_difference(&one), Some(Path::new("b")));
    }
}
