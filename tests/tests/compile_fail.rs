//! Every mistake that the compiler can find, with the message it gives, beside a twin without the mistake.
//!
//! `ui/<class>/<case>.rs` has one mistake, which `<case>.stderr` reports; `<case>.pass.rs` is the same program without it,
//! which `twins.rs` compiles. The messages are rustc's and change with it, so they are compared under the toolchain of
//! `rust-toolchain.toml` only. `TRYBUILD=overwrite cargo test -p eventfold-es-tests --test compile_fail` writes them anew,
//! and `BLESS=1` the table of `docs/macros/mistakes.md` that is made from them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOLCHAIN: &str = "1.95.0";
const TABLE: &str = "../docs/macros/mistakes.md";

/// Cases that report more than one error, and why that is so.
const MORE_THAN_ONE: &[(&str, &[&str])] = &[
    (
        "there is more than one mistake",
        &[
            "arguments/several_mistakes",
            "events/other_words",
            "events/several_mistakes",
            "process_managers/handler_of_a_projection",
            "projections/handler_of_a_process_manager",
        ],
    ),
    (
        "rustc asks for the bounds of a trait where the trait is needed, too",
        &[
            "derives/aggregate_without_any",
            "derives/aggregate_without_clone",
            "derives/aggregate_without_default",
            "derives/aggregate_without_deserialize",
            "derives/aggregate_without_serialize",
            "derives/process_manager_without_default",
            "derives/process_manager_without_deserialize",
            "derives/process_manager_without_serialize",
            "derives/projection_without_clone",
            "derives/projection_without_default",
            "derives/projection_without_deserialize",
            "derives/projection_without_serialize",
            "derives/state_of_one_thread",
        ],
    ),
    (
        "every part of an impl that needs the trait says that it is missing",
        &[
            "aggregates/attribute_missing",
            "process_managers/attribute_missing",
            "process_managers/correlation_without_key",
            "projections/attribute_missing",
        ],
    ),
    (
        "the second follows from the first, in words of rustc's that no macro can prevent",
        &[
            "names/shared_by_another_path",
            "process_managers/dispatched_not_an_aggregate",
            "process_managers/dispatched_unknown_type",
            "process_managers/envelope_exists",
            "process_managers/subscribed_not_an_aggregate",
            "projections/subscribed_not_an_aggregate",
            "stores/event_sent",
            "stores/not_an_aggregate",
        ],
    ),
    (
        "serde's derives report it too",
        &[
            "events/content_without_tag",
            "events/rule_misspelt",
            "events/variant_flattened",
        ],
    ),
];

fn compiler() -> Result<String, Box<dyn Error>> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output()?;
    Ok(String::from_utf8(version.stdout)?)
}

/// The files under `ui/` whose names end so, in order.
fn files(ending: &str) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut files = Vec::new();
    for class in std::fs::read_dir(Path::new("ui"))? {
        for file in std::fs::read_dir(class?.path())? {
            let path = file?.path();
            if path.to_string_lossy().ends_with(ending) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The programs with a mistake.
fn cases() -> Result<Vec<PathBuf>, std::io::Error> {
    let mut cases = files(".rs")?;
    cases.retain(|path| !path.to_string_lossy().ends_with(".pass.rs"));
    Ok(cases)
}

/// One error of rustc's.
struct Reported {
    message: String,
    /// What stands beside the carets.
    label: Option<String>,
    /// The first note, if it says what to write.
    remedy: Option<String>,
}

impl Reported {
    /// The message with what makes it understood.
    fn in_full(&self) -> String {
        match (&self.remedy, &self.label) {
            (Some(remedy), _) => format!("{}; {remedy}", self.message),
            (None, Some(label)) => format!("{}: {label}", self.message),
            (None, None) => self.message.clone(),
        }
    }
}

/// The errors in what rustc printed.
fn errors(printed: &str) -> Vec<Reported> {
    let mut errors: Vec<Reported> = Vec::new();
    for line in printed.lines() {
        if line.starts_with("error") {
            if let Some((_, message)) = line.split_once(": ") {
                let message = message.trim_start_matches("evaluation panicked: ");
                errors.push(Reported {
                    message: message.to_owned(),
                    label: None,
                    remedy: None,
                });
            }
            continue;
        }
        let Some(error) = errors.last_mut() else {
            continue;
        };
        if let Some(note) = line.trim_start().strip_prefix("= note: ") {
            let says_what_to_write = ["write ", "put ", "add ", "a dispatched", "a command is"]
                .iter()
                .any(|start| note.starts_with(start));
            if says_what_to_write && error.remedy.is_none() {
                error.remedy = Some(note.to_owned());
            }
        } else if let (None, Some((before, label))) = (&error.label, line.rsplit_once("^ ")) {
            let is_carets = before.trim_start().starts_with('|');
            if is_carets && !label.starts_with("evaluation of") {
                error.label = Some(label.to_owned());
            }
        }
    }
    errors
}

/// The classes of mistakes, each with its cases and their errors.
type Mistakes = BTreeMap<String, Vec<(String, Vec<Reported>)>>;

fn mistakes() -> Result<Mistakes, Box<dyn Error>> {
    let mut mistakes = Mistakes::new();
    for path in files(".stderr")? {
        let name = |path: Option<&std::ffi::OsStr>| {
            path.unwrap_or_default().to_string_lossy().into_owned()
        };
        let class = name(path.parent().and_then(Path::file_name));
        let printed = std::fs::read_to_string(&path)?;
        mistakes
            .entry(class)
            .or_default()
            .push((name(path.file_stem()), errors(&printed)));
    }
    Ok(mistakes)
}

#[test]
fn mistakes_are_reported() -> Result<(), Box<dyn Error>> {
    let compiler = compiler()?;
    if !compiler.starts_with(&format!("rustc {TOOLCHAIN} ")) {
        println!("skipped: the messages are those of rustc {TOOLCHAIN}, and this is {compiler}");
        return Ok(());
    }
    let trybuild = trybuild::TestCases::new();
    for path in cases()? {
        trybuild.compile_fail(path);
    }
    Ok(())
}

#[test]
fn the_toolchain_is_the_pinned_one() -> Result<(), Box<dyn Error>> {
    let pinned = std::fs::read_to_string("../rust-toolchain.toml")?;
    assert!(
        pinned.contains(&format!("channel = \"{TOOLCHAIN}\"")),
        "TOOLCHAIN is not the channel of rust-toolchain.toml:\n{pinned}"
    );
    Ok(())
}

#[test]
fn messages_depend_on_nothing_but_the_toolchain() -> Result<(), Box<dyn Error>> {
    for path in files(".stderr")? {
        let message = std::fs::read_to_string(&path)?;
        // Sources of the standard library are quoted only where the component rust-src is installed.
        for machine in [
            "$RUST", "/rustc/", "$CARGO", "/home/", "/root/", "/work/", "/tmp/", "/usr/",
        ] {
            assert!(
                !message.contains(machine),
                "{} contains {machine}",
                path.display()
            );
        }
    }
    Ok(())
}

/// One mistake is one error: nothing that follows from it turns red, but for the cases that say why.
#[test]
fn a_mistake_is_one_error() -> Result<(), Box<dyn Error>> {
    let mut excused: Vec<&str> = MORE_THAN_ONE
        .iter()
        .flat_map(|(_, cases)| cases.iter().copied())
        .collect();
    for (class, cases) in mistakes()? {
        for (case, errors) in cases {
            let case = format!("{class}/{case}");
            let is_excused = excused.iter().position(|excused| *excused == case);
            if let Some(index) = is_excused {
                excused.swap_remove(index);
            }
            assert_eq!(
                errors.len() > 1,
                is_excused.is_some(),
                "{case} reports {} errors; MORE_THAN_ONE says which may report more than one",
                errors.len()
            );
        }
    }
    assert!(excused.is_empty(), "there is no case {excused:?}");
    Ok(())
}

/// A twin differs from its case in little, and is compiled by `twins.rs`.
#[test]
fn every_mistake_has_a_twin() -> Result<(), Box<dyn Error>> {
    let listed = std::fs::read_to_string("tests/twins.rs")?;
    let cases = cases()?;
    assert!(cases.len() >= 80, "{} cases", cases.len());
    for case in &cases {
        assert!(
            case.with_extension("stderr").exists(),
            "{} has no message",
            case.display()
        );
        let twin = case.with_extension("pass.rs");
        let (wrong, right) = (
            std::fs::read_to_string(case)?,
            std::fs::read_to_string(&twin)
                .map_err(|error| format!("{}: {error}", twin.display()))?,
        );
        assert_ne!(wrong, right, "{}", case.display());
        let path = format!("#[path = \"../{}\"]", twin.display());
        assert!(listed.contains(&path), "tests/twins.rs lacks {path}");
    }
    assert_eq!(files(".pass.rs")?.len(), cases.len());
    assert_eq!(listed.matches("#[path = ").count(), cases.len());
    assert_eq!(files(".stderr")?.len(), cases.len());
    Ok(())
}

/// A cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn table() -> Result<String, Box<dyn Error>> {
    let mut table = String::new();
    for (class, cases) in mistakes()? {
        let class_name = class.replace('_', " ");
        writeln!(
            table,
            "\n## {class_name}\n\n| mistake | message |\n|---|---|"
        )?;
        for (case, errors) in cases {
            let Some(first) = errors.first() else {
                return Err(format!("{class}/{case} reports nothing").into());
            };
            let mut cells = first.in_full();
            if errors.len() > 1 {
                write!(cells, " (and {} more)", errors.len() - 1)?;
            }
            writeln!(
                table,
                "| [{}](../../tests/ui/{class}/{case}.rs) | {} |",
                case.replace('_', " "),
                code_aware(&cells)
            )?;
        }
    }
    Ok(table)
}

/// Escapes what is outside of backticks; inside, only the bars that would end the cell.
fn code_aware(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let escaped: Vec<String> = parts
        .map(|(index, part)| match index % 2 {
            0 => cell(part),
            _ => part.replace('|', "\\|"),
        })
        .collect();
    escaped.join("`")
}

#[test]
fn the_table_of_mistakes_is_what_rustc_prints() -> Result<(), Box<dyn Error>> {
    const MARK: &str =
        "<!-- from tests/ui: BLESS=1 cargo test -p eventfold-es-tests --test compile_fail -->\n";
    let written = std::fs::read_to_string(TABLE)?;
    let (introduction, printed) = written
        .split_once(MARK)
        .ok_or_else(|| format!("{TABLE} has no line {MARK}"))?;
    let table = table()?;
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(TABLE, format!("{introduction}{MARK}{table}"))?;
        return Ok(());
    }
    assert!(
        printed == table,
        "{TABLE} is not what the cases print; BLESS=1 writes it anew"
    );
    Ok(())
}
