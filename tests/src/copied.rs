//! Copies of a directory whose store may be open.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Copies a directory in the order that the documentation of the storage asks for: the journal last, its active file first.
///
/// The threads of an open store may remove a file meanwhile. It is left out.
///
/// # Errors
///
/// If a file cannot be read or written.
pub fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(from)? {
        names.push(entry?.file_name());
    }
    names.sort_by_key(|name| (name == "meta", name == "journal", name != "app.jsonl"));
    for name in names {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_directory(&from, &to)?;
            continue;
        }
        match fs::copy(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => drop(copied?),
        }
    }
    Ok(())
}
