use std::path::Path;

use super::{FileError, Files, OpenMode};

/// Replaces the file at `path` as a whole: after a crash it holds the old content or the new one, never a part.
///
/// The new content is synced before it takes the name, and the directory afterwards.
pub(crate) fn replace_file(files: &Files, path: &Path, content: &[u8]) -> Result<(), FileError> {
    let temporary = path.with_extension("json.tmp");
    let file = files.open(&temporary, OpenMode::Truncate)?;
    file.write_all_at(content, 0)?;
    file.sync_data()?;
    drop(file);
    files.rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => files.sync_dir(directory),
        None => Ok(()),
    }
}
