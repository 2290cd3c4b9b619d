use std::path::{Path, PathBuf};

use super::{FileError, FileHandle, Files, OpenMode};

/// Replaces the file at `path` as a whole: after a crash, it holds the old content or the new content, never a part.
///
/// The new content is synced before it takes the name, and the directory is synced afterwards.
pub(crate) fn replace_file(files: &Files, path: &Path, content: &[u8]) -> Result<(), FileError> {
    let (file, temporary) = write_aside(files, path, content)?;
    file.sync_data()?;
    drop(file);
    files.rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => files.sync_dir(directory),
        None => Ok(()),
    }
}

fn write_aside(
    files: &Files,
    path: &Path,
    content: &[u8],
) -> Result<(FileHandle, PathBuf), FileError> {
    let temporary = path.with_extension("json.tmp");
    let file = files.open(&temporary, OpenMode::Truncate)?;
    file.write_all_at(content, 0)?;
    Ok((file, temporary))
}
