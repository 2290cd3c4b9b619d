//! The files of a store with schedules.

use std::path::Path;

use eventfold_es_tests::TestResult;

use crate::world::{Nightly, builder, clock};

/// The names of all files and directories below a directory.
fn below(directory: &Path, found: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        found.push(entry.file_name().to_string_lossy().into_owned());
        let path = entry.path();
        if path.is_dir() {
            below(&path, found)?;
        }
    }
    Ok(())
}

/// The beginning of a schedule has a directory, whose name is not among those of types.
#[tokio::test]
async fn a_store_with_schedules_can_be_copied_to_any_file_system() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(directory.path(), &clock).schedule::<Nightly>();
    store.open().await?.close().await?;

    let mut names = Vec::new();
    below(directory.path(), &mut names)?;
    assert!(
        names.iter().any(|name| name.contains("nightly")),
        "{names:?}"
    );
    for name in names {
        assert!(
            !name.contains(['<', '>', ':', '"', '|', '?', '*', '\\']),
            "{name}"
        );
    }
    Ok(())
}
