//! Tests that change or count what all tests of a process share.

use std::env;
use std::process::Command;

const IS_ALONE: &str = "EVENTFOLD_TEST_IS_ALONE";

/// Whether this process runs the test with this name and no other. If not, a process that does is started, and has passed when
/// this returns: `if !is_alone("clock::a_test") { return; }`.
///
/// # Panics
///
/// If the test fails in that process, or no test has that name.
#[must_use]
pub fn is_alone(test: &str) -> bool {
    if env::var_os(IS_ALONE).is_some() {
        return true;
    }
    let this = env::current_exe().expect("the path of this executable");
    let output = Command::new(this)
        .args(["--exact", test, "--nocapture"])
        .env(IS_ALONE, "1")
        .output()
        .expect("this executable starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{test}: {told}\n{warned}"
    );
    false
}
