//! The bugs of `planted_bugs` are in no build but its own: otherwise an environment variable could switch off the sync of
//! the journal in a program whose dependencies enable the feature `testing`.

use std::process::Command;

/// The variable that names a bug, put together here so that its name is in this executable only where the library reads it.
fn variable() -> String {
    ["EVENTFOLD", "PLANTED", "BUG"].join("_")
}

#[test]
fn the_variable_is_read_in_builds_of_planted_bugs_only() {
    let executable = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let variable = variable();
    let is_read = executable
        .windows(variable.len())
        .any(|bytes| bytes == variable.as_bytes());
    assert_eq!(is_read, cfg!(eventfold_sabotage));
}

#[test]
fn a_sync_is_left_out_in_builds_of_planted_bugs_only() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "rules::writing::rule_03_a_failed_sync_of_any_kind_poisons",
        ])
        .env(variable(), "skip-sync")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "{said}");
    assert_eq!(output.status.success(), !cfg!(eventfold_sabotage), "{said}");
}
