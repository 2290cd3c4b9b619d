//! The executables of the other tests. Where the whole suite is run, all of them lie beside this one; otherwise cargo is asked
//! for them, which has let go of the build directory by the time a test runs.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The executable of each of these tests.
pub fn find(names: &BTreeSet<&'static str>) -> BTreeMap<&'static str, PathBuf> {
    let this = env::current_exe().unwrap();
    let directory = this.parent().unwrap();
    let built = names.iter().map(|name| (*name, newest(directory, name)));
    let beside: Option<BTreeMap<_, _>> = built
        .map(|(name, found)| {
            let (path, built) = found?;
            (built >= changed(name)).then_some((name, path))
        })
        .collect();
    beside.unwrap_or_else(|| build(directory, names))
}

/// The newest executable of a test in a directory, whatever it was built for.
fn newest(directory: &Path, name: &str) -> Option<(PathBuf, SystemTime)> {
    let is_hash = |hash: &str| hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let found = entries.filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        let stem = file.strip_suffix(env::consts::EXE_SUFFIX)?;
        let hash = stem.strip_prefix(name)?.strip_prefix('-')?;
        let modified = entry.metadata().unwrap().modified().unwrap();
        is_hash(hash).then(|| (entry.path(), modified))
    });
    found.max_by_key(|(_, modified)| *modified)
}

/// When the sources of a test were changed last.
fn changed(name: &str) -> SystemTime {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [
        tests.join("../eventfold-es/src"),
        tests.join("../eventfold-es-macros/src"),
        tests.join("src"),
        tests.join("tests/common"),
        tests.join("tests").join(name),
        tests.join("tests").join(name).with_extension("rs"),
    ];
    let sources = sources.iter().filter(|path| path.exists());
    sources.map(|path| last_change(path)).max().unwrap()
}

fn last_change(path: &Path) -> SystemTime {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap().map(Result::unwrap);
        let changes = entries.map(|entry| last_change(&entry.path()));
        changes.max().unwrap_or(SystemTime::UNIX_EPOCH)
    } else {
        path.metadata().unwrap().modified().unwrap()
    }
}

fn build(directory: &Path, names: &BTreeSet<&'static str>) -> BTreeMap<&'static str, PathBuf> {
    let profile = directory.parent().unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["test", "--no-run", "--message-format=json"])
        .args(["-p", "eventfold-es-tests"])
        .args(names.iter().flat_map(|name| ["--test", name]))
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.file_name() == Some(OsStr::new("release")) {
        cargo.arg("--release");
    }
    let output = cargo.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let messages = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut built = BTreeMap::new();
    for message in messages {
        let name = names.get(message["target"]["name"].as_str().unwrap_or_default());
        if let (Some(name), Some(path)) = (name, message["executable"].as_str()) {
            built.insert(*name, PathBuf::from(path));
        }
    }
    assert_eq!(built.len(), names.len(), "{built:?}");
    built
}
