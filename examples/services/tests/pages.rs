//! Runs the programs of the guide's pages, and compares each page with its program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const EXAMPLES: &str = env!("CARGO_MANIFEST_DIR");

/// The output of a program. `cargo test` builds the programs, beside the directory of this test.
fn run(program: &str) -> String {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    let path = target.join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not built; `cargo test -p eventfold-es-services` builds it",
        path.display()
    );
    let output = Command::new(path).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The blocks of a page with one of its languages, such as `rust,ignore`.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<Vec<&'p str>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(language) {
            blocks.push(lines.by_ref().take_while(|line| *line != "```").collect());
        }
    }
    blocks
}

/// Whether consecutive lines of `source` are `block`, at any indentation.
fn has(source: &str, block: &[&str]) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    lines.windows(block.len()).any(|window| {
        let indentation = window[0].len() - window[0].trim_start().len();
        let mut pairs = window.iter().zip(block);
        pairs.all(|(line, shown)| {
            line.get(indentation..).unwrap_or(line.trim_start()) == *shown
                && line[..indentation.min(line.len())].trim().is_empty()
        })
    })
}

fn sources(program: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new(EXAMPLES).join(program);
    let entries = fs::read_dir(&directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The page shows lines of the program as they are, and the whole output of a run.
fn page_shows(page: &str, program: &str) {
    let path = Path::new(EXAMPLES).join(format!("../../docs/guide/{page}.md"));
    let text = fs::read_to_string(path).unwrap();
    for named in [
        format!("](../../examples/services/{program}/"),
        format!("cargo run -p eventfold-es-services --example {program}`"),
    ] {
        assert!(text.contains(&named), "{page}.md does not name {named}");
    }

    let shown = blocks(&text, "rust,ignore");
    assert!(shown.len() > 1, "{page}.md shows {} blocks", shown.len());
    let fences = text.matches("```rust").count();
    assert_eq!(fences, shown.len(), "{page}.md has other blocks of Rust");
    let sources = sources(program);
    for block in shown {
        assert!(
            sources.iter().any(|(_, source)| has(source, &block)),
            "examples/services/{program} does not have these lines of {page}.md:\n{}",
            block.join("\n")
        );
    }

    let printed = run(program);
    let outputs = blocks(&text, "text");
    assert_eq!(outputs.len(), 1, "{page}.md shows one output");
    assert_eq!(printed.lines().collect::<Vec<_>>(), outputs[0], "{page}.md");
}

#[test]
fn sending_email() {
    page_shows("sending-email", "sending_email");
}

#[test]
fn calling_a_payment_provider() {
    page_shows("payments", "payments");
}

#[test]
fn receiving_webhooks() {
    page_shows("webhooks", "webhooks");
}

#[test]
fn polling_an_api() {
    page_shows("polling", "polling");
}

#[test]
fn nightly_report() {
    page_shows("nightly-report", "nightly_report");
}

#[test]
fn human_approval() {
    page_shows("approval", "approval");
}

#[test]
fn compensation() {
    page_shows("compensation", "compensation");
}

#[test]
fn a_block_that_the_program_does_not_have_is_noticed() {
    let source = "fn a() {\n    let b = 1;\n\n    b + 1;\n}\n";
    assert!(has(source, &["let b = 1;", "", "b + 1;"]));
    assert!(has(source, &["fn a() {", "    let b = 1;"]));
    assert!(!has(source, &["let b = 1;", "b + 1;"]));
    assert!(!has(source, &["fn a() {", "let b = 1;"]));
    assert!(!has(source, &["let b = 1"]));
    let page = "```rust,ignore\na\nb\n```\n```text\nc\n```\n";
    assert_eq!(blocks(page, "rust,ignore"), [["a", "b"]]);
    assert_eq!(blocks(page, "text"), [["c"]]);
}

#[test]
fn trips_are_booked_and_cancelled_as_a_whole() {
    let printed = run("travel_booking");
    assert!(
        printed.contains("booked inside: 24, outside: 24\ncharges: 9, one for each card"),
        "{printed}"
    );
}
