//! The executables of the other tests, built with `--cfg eventfold_sabotage`.
//!
//! `RUSTFLAGS` would have every dependency built once more. A wrapper of the compiler for the workspace alone does not: cargo
//! keeps the workspace's packages apart by it, and takes the dependencies from the run that this test is a part of. That run has
//! let go of the build directory by the time a test runs.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

const WRAPPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/planted_bugs/rustc.sh");

/// The executable of each of these tests.
pub fn build(names: &BTreeSet<&'static str>) -> BTreeMap<&'static str, PathBuf> {
    let this = env::current_exe().unwrap();
    let profile = this.parent().unwrap().parent().unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["test", "--no-run", "--message-format=json"])
        // The dependencies have the features that they have in a run of the whole suite.
        .arg("--workspace")
        .args(names.iter().flat_map(|name| ["--test", name]))
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .env("RUSTC_WORKSPACE_WRAPPER", WRAPPER)
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
