//! Runs the example `order_fulfillment` as its users do, through kills and malformed files too.
//!
//! The unit tests of the example run here as well: cargo builds an example or tests it, and this file needs it built.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

#[path = "../order_fulfillment/main.rs"]
#[allow(
    dead_code,
    reason = "the program is run as a process; only its unit tests are needed here"
)]
mod example;

const CSV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/online-retail-10k.csv");
const MODES: [&str; 3] = ["inline", "background", "on-demand"];
const TOTALS: &str = "orders: 439\nreturns: 43\nunits_reserved: 90389\nunits_returned: 10815\n\
                      units_adjusted: -1398\ndead_letters: 38\nrevenue: 184248.33\n";

/// The built example. `cargo test` builds it, beside the directory of this test.
fn example() -> Command {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let name = format!("order_fulfillment{}", std::env::consts::EXE_SUFFIX);
    let program = target.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not built; `cargo test -p eventfold-es-examples` builds it",
        program.display()
    );
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&dyn AsRef<OsStr>]) -> Output {
    let mut command = example();
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    command.output().unwrap()
}

/// What a run that must succeed prints, without the throughput.
fn report(arguments: &[&dyn AsRef<OsStr>]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{output:?}");
    without_throughput(&output)
}

fn without_throughput(output: &Output) -> String {
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let (report, throughput) = printed.split_once("\nseconds: ").unwrap();
    assert!(throughput.contains("\nlines_per_second: "), "{printed}");
    report.to_owned()
}

/// The header and the first `count` lines of the shipped file.
fn first_lines(count: usize) -> String {
    let text = fs::read_to_string(CSV).unwrap();
    text.split_inclusive('\n').take(count + 1).collect()
}

fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// The commits of the journal that have events.
fn commits(store: &Path) -> Vec<String> {
    let text = fs::read_to_string(store.join("meta/journal/app.jsonl")).unwrap();
    let lines = text.lines().filter(|line| !line.contains("\"streams\":[]"));
    lines.map(str::to_owned).collect()
}

fn totals_and_a_second_run_that_changes_nothing(mode: &str) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let first = report(&[&CSV, &store, &"--run-mode", &mode]);
    assert!(first.contains(&format!("\n\n{TOTALS}")), "{first}");
    assert!(first.contains("\nUnited Kingdom "), "{first}");
    let before = commits(&store);
    assert!(before.len() > 500, "{}", before.len());

    assert_eq!(report(&[&CSV, &store, &"--run-mode", &mode]), first);
    assert!(commits(&store) == before, "the second run wrote events");
}

#[test]
fn totals_inline() {
    totals_and_a_second_run_that_changes_nothing("inline");
}

#[test]
fn totals_in_the_background() {
    totals_and_a_second_run_that_changes_nothing("background");
}

#[test]
fn totals_on_demand() {
    totals_and_a_second_run_that_changes_nothing("on-demand");
}

/// The program compares the tables with its projections in memory.
#[test]
fn the_tables_of_sql_survive_their_removal_and_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let csv = write(directory.path(), "first.csv", first_lines(1_000));
    let (store, database) = (
        directory.path().join("store"),
        directory.path().join("sales.db"),
    );
    let without = report(&[&csv, &store]);
    // A projection that is new to the store begins with the first event.
    let first = report(&[&csv, &store, &"--sql", &database]);
    let by_sql = first.strip_prefix(&without).unwrap();
    assert!(
        by_sql.contains("first United Kingdom. The ten best articles:\n"),
        "{by_sql}"
    );
    assert_eq!(by_sql.trim().lines().count(), 11, "{by_sql}");

    assert_eq!(report(&[&csv, &store, &"--sql", &database]), first);
    fs::remove_file(&database).unwrap();
    assert_eq!(report(&[&csv, &store, &"--sql", &database]), first);

    let missing = directory.path().join("missing/sales.db");
    let output = run(&[&csv, &store, &"--sql", &missing]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{error}");
    assert!(error.contains("unable to open database file"), "{error}");
}

/// The drawing in the documentation is the one that the program prints.
#[test]
fn it_draws_what_it_is_made_of() {
    let printed = |language: &str| {
        let output = run(&[&"--topology", &language]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let documentation = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/reference/event_store.md"
    );
    let documentation = fs::read_to_string(documentation).unwrap();
    for language in ["mermaid", "dot"] {
        let drawing = format!("```{language}\n{}```\n", printed(language));
        assert!(
            documentation.contains(&drawing),
            "the documentation lacks:\n{drawing}"
        );
    }
    assert!(printed("json").contains("\"name\": \"Shop\""));
    assert_eq!(run(&[&"--topology", &"svg"]).status.code(), Some(2));
    assert_eq!(run(&[&"--topology"]).status.code(), Some(2));
}

#[test]
fn without_arguments_the_shipped_file_runs_from_any_directory() {
    let directory = tempfile::tempdir().unwrap();
    let output = example().current_dir(&directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(without_throughput(&output).ends_with(TOTALS));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

/// `ORDER_FULFILLMENT_KILLS=200 cargo test -p eventfold-es-examples killed` makes it a campaign.
#[test]
fn killed_at_any_moment_and_run_again_it_ends_with_the_same_totals() {
    let kills: u32 = std::env::var("ORDER_FULFILLMENT_KILLS")
        .map_or(5, |kills| kills.parse().expect("a number of kills"));
    let directory = tempfile::tempdir().unwrap();
    let csv = write(directory.path(), "short.csv", first_lines(2_500));
    let started = Instant::now();
    let expected = report(&[&csv, &directory.path().join("undisturbed")]);
    let whole = started.elapsed();

    // Delays from all over a run, each store killed a few times before it may finish. The seed is fixed.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut killed_alive = 0;
    for first in (0..kills).step_by(5) {
        let store = directory.path().join(format!("killed-{first}"));
        for kill in first..kills.min(first + 5) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let delay = whole.mul_f64((seed >> 40) as f64 / f64::from(1 << 24) / 2.0);
            let mode = MODES[kill as usize % MODES.len()];
            let mut child = example()
                .args([csv.as_os_str(), store.as_os_str()])
                .args(["--run-mode", mode])
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(delay);
            if child.try_wait().unwrap().is_none() {
                killed_alive += 1;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for mode in [MODES[first as usize % MODES.len()], "inline"] {
            let after = report(&[&csv, &store, &"--run-mode", &mode]);
            assert_eq!(after, expected, "after the kills from {first} on");
        }
    }
    assert!(killed_alive > 0, "every run ended before it was killed");
}

#[test]
fn a_malformed_line_is_reported_and_mended() {
    let directory = tempfile::tempdir().unwrap();
    let whole = first_lines(1_000);
    let expected = report(&[&write(directory.path(), "whole.csv", &whole)]);
    for (line, from, to, reason) in [
        // In the middle of an invoice; its last line, with and without a number that can be read; a stray quote.
        (500, ",", ",one more,", "8 columns, and this line has 9"),
        (10, "536366", "", "InvoiceNo is empty"),
        (
            29,
            "536370",
            "garbage\n536370",
            "8 columns, and this line has 1",
        ),
        (700, ",", ",\"", "a quote is opened and not closed"),
        (
            903,
            ",1.45,",
            ",1-45,",
            "UnitPrice `1-45` is no decimal number",
        ),
    ] {
        let mut lines: Vec<String> = whole.split_inclusive('\n').map(str::to_owned).collect();
        let text = &mut lines[line - 1];
        assert!(text.contains(from), "line {line} is {text}");
        *text = text.replacen(from, to, 1);
        let broken = write(directory.path(), "broken.csv", lines.concat());
        let store = directory.path().join(format!("store-{line}"));

        let output = run(&[&broken, &store]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let errors = String::from_utf8(output.stderr.clone()).unwrap();
        let expected_error = format!("broken.csv:{line}: ");
        assert!(
            errors.contains(&expected_error) && errors.contains(reason),
            "{errors}"
        );

        // What is complete before the line is what a file has that ends before the invoice of that line.
        let invoice = whole
            .lines()
            .nth(line - 1)
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        let complete: String = whole
            .split_inclusive('\n')
            .take(line - 1)
            .filter(|text| !text.starts_with(invoice))
            .collect();
        let complete = write(directory.path(), "complete.csv", complete);
        assert_eq!(
            without_throughput(&output),
            report(&[&complete]),
            "line {line}"
        );

        assert_eq!(
            report(&[&directory.path().join("whole.csv"), &store]),
            expected,
            "line {line}"
        );
    }
}

#[test]
fn line_endings_and_a_byte_order_mark_make_no_difference() {
    let directory = tempfile::tempdir().unwrap();
    let text = first_lines(1_000);
    let expected = report(&[&write(directory.path(), "lf.csv", &text)]);
    let lines: Vec<&str> = text.lines().collect();
    for (name, content) in [
        ("crlf.csv", text.replace('\n', "\r\n")),
        ("cr.csv", text.replace('\n', "\r")),
        ("bom.csv", format!("\u{feff}{}", text.replace('\n', "\r\n"))),
        ("no-end.csv", text.trim_end().to_owned()),
        ("spread.csv", {
            // Each invoice keeps the order of its lines, but they no longer stand together.
            let even = lines.iter().skip(2).step_by(2);
            let odd = lines.iter().skip(1).step_by(2);
            let spread: Vec<_> = lines
                .iter()
                .take(1)
                .chain(even)
                .chain(odd)
                .copied()
                .collect();
            spread.join("\n")
        }),
    ] {
        assert_eq!(
            report(&[&write(directory.path(), name, content)]),
            expected,
            "{name}"
        );
    }
}

#[test]
fn wrong_arguments_and_unreadable_files_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let no_price = first_lines(3).replace("UnitPrice", "Price");
    let no_price = write(directory.path(), "no-price.csv", no_price);
    let empty = write(directory.path(), "empty.csv", "");
    let missing = directory.path().join("missing.csv");
    let store = directory.path().join("store");
    let cases: [(&[&dyn AsRef<OsStr>], i32, &str); 6] = [
        (&[&"--run-mode", &"fast"], 2, "found `fast`"),
        (&[&"--quick"], 2, "there is no option `--quick`"),
        (
            &[&CSV, &store, &"third"],
            2,
            "`third` is one argument too many",
        ),
        (&[&missing, &store], 1, "missing.csv: "),
        (
            &[&no_price, &store],
            1,
            "no-price.csv:1: the column `UnitPrice` is missing",
        ),
        (&[&empty, &store], 1, "the file is empty"),
    ];
    for (arguments, code, message) in cases {
        let output = run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains(message), "{errors}");
        assert!(output.stdout.is_empty());
    }
    assert!(!store.exists(), "a file that cannot be read made a store");

    let help = run(&[&"--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("[STORE_DIR]"));
}

#[test]
fn an_empty_order_book_is_one_too() {
    let directory = tempfile::tempdir().unwrap();
    let report = report(&[&write(directory.path(), "header.csv", first_lines(0))]);
    assert!(report.contains("\norders: 0\n"), "{report}");
    assert!(report.ends_with("\nrevenue: 0.00\n"), "{report}");
}
