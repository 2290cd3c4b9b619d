//! Runs the examples that check what they print, and compares the pages of the guide with their programs.
//!
//! `tested_saga`, `explored_saga` and `explored_handler` need the feature `testing`, and run in `.ci/run`.

use std::path::Path;
use std::process::{Command, Stdio};

fn run(example: &str) -> String {
    run_in(Path::new("."), example)
}

/// `cargo test` builds the examples, beside the directory of this test.
fn run_in(directory: &Path, example: &str) -> String {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let name = format!("{example}{}", std::env::consts::EXE_SUFFIX);
    let program = target.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not built; `cargo test -p eventfold-es-examples` builds it",
        program.display()
    );
    let output = Command::new(program)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{example}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The README shows the program as it is, and its output in two runs.
#[test]
fn the_readme_shows_a_program_that_runs() {
    let readme = include_str!("../../README.md");
    let program = include_str!("../readme/main.rs");
    assert!(
        readme.contains(&format!("```rust,no_run\n{program}```\n")),
        "README.md does not show examples/readme/main.rs"
    );
    let directory = tempfile::tempdir().unwrap();
    for savings in [10, 20] {
        let printed = run_in(directory.path(), "readme");
        assert_eq!(printed, format!("{savings} in savings\n"));
        assert!(readme.contains(&format!("prints `{}`", printed.trim_end())));
    }
}

#[test]
fn the_order_saga_ends_each_order_as_it_should() {
    let printed = run("order_saga");
    assert!(
        printed.contains("ord-2: cancelled, since it was not paid in time"),
        "{printed}"
    );
}

#[test]
fn dead_letters_are_redriven_after_the_fix() {
    let printed = run("dead_letters");
    assert!(
        printed.contains("redriven: 2 executed, 0 failed"),
        "{printed}"
    );
}

#[test]
fn a_person_is_forgotten_with_the_key() {
    let printed = run("personal_data");
    assert!(
        printed.contains("the name is nowhere in the store"),
        "{printed}"
    );
}

#[test]
fn an_address_belongs_to_one_user() {
    let printed = run("unique_email");
    assert!(
        printed.contains("one address: 1 registered, 31 refused"),
        "{printed}"
    );
}

#[test]
fn a_dashboard_in_a_pipe_is_drawn_once_and_without_escapes() {
    let printed = run("live_dashboard");
    assert!(!printed.contains('\x1b'), "{printed:?}");
    assert_eq!(printed.matches("Branch").count(), 1, "{printed}");
    let totals = "all           300       270         30  2700.00";
    assert!(printed.contains(totals), "{printed}");
}

#[test]
fn each_email_is_delivered_through_crashes() {
    let printed = run("email_outbox");
    assert!(
        printed.contains("attempts: 19\ndelivered: 16\n"),
        "{printed}"
    );
}

#[test]
fn the_author_of_a_price_is_found() {
    let printed = run("time_travel");
    assert!(
        printed.contains("the price: linus, day 5, in version 6"),
        "{printed}"
    );
}

#[test]
fn tickets_are_listed_by_page_and_by_index() {
    let printed = run("list_view");
    assert!(
        printed.contains("page 2 after t-02 was closed: t-05 t-06 t-07 t-08"),
        "{printed}"
    );
}

#[test]
fn a_directory_has_each_event_once_through_crashes() {
    let printed = run("own_sink");
    assert!(
        printed.contains("24 deposits, each in the files once, through"),
        "{printed}"
    );
}
