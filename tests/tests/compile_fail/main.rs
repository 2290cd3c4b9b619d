//! Every mistake that the compiler can find, with the message it gives, beside a twin without the mistake.
//!
//! `ui/<class>/<case>.rs` has one mistake, which `<case>.stderr` reports; `<case>.pass.rs` is the same program without it,
//! which `macros/twins.rs` compiles. The messages are rustc's and change with it, so they are compared under the toolchain of
//! `rust-toolchain.toml` only. `TRYBUILD=overwrite cargo test -p eventfold-es-tests --test compile_fail` writes them anew,
//! and `BLESS=1` what is made from them: the list of twins and the tables under `docs`.

mod documentation;
mod messages;
mod mistakes;
mod prose;

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use mistakes::mistakes;

const TOOLCHAIN: &str = "1.95.0";
const TWINS: &str = "tests/macros/twins.rs";

/// Cases that report more than one error, and why that is so.
const MORE_THAN_ONE: &[(&str, &[&str])] = &[
    (
        "there is more than one mistake",
        &[
            "arguments/guessed_in_event_handler",
            "arguments/several_mistakes",
            "derives/aggregate_without_any",
            "event_handlers/handler_of_a_process_manager",
            "event_store/event_handlers_in_another_order",
            "event_store/guessed",
            "events/other_words",
            "events/several_mistakes",
            "evolution/steps_in_wrong_order",
            "process_managers/handler_of_a_projection",
            "projections/handler_of_a_process_manager",
            "projections/project_in_a_sink",
            "schedules/guessed",
        ],
    ),
    (
        "a type that is neither `Send` nor `Sync` lacks two bounds, and the futures that borrow it are not `Send` either",
        &[
            "derives/state_of_one_thread",
            "event_handlers/of_one_thread",
        ],
    ),
    (
        "without its attribute no macro can tell rustc to be silent about the lines that name the type",
        &[
            "event_handlers/attribute_missing",
            "process_managers/attribute_missing",
            "process_managers/attribute_missing_below_handlers",
        ],
    ),
    (
        "rustc compares each function of an impl with its trait, whether or not the type may have the impl at all",
        &[
            "aggregates/attribute_missing",
            "aggregates/context_taken_by_decider",
            "aggregates/attribute_misspelt",
            "event_handlers/handler_with_another_context",
            "event_handlers/key_undeclared",
            "process_managers/correlation_without_key",
            "process_managers/deadline_handled_as_event",
            "projections/locate_without_key",
            "projections/project_into_memory",
            "projections/project_into_rows",
        ],
    ),
    (
        "the second follows from the first, in words of rustc's that no macro can prevent",
        &[
            "aggregates/command_with_a_lifetime",
            "evolution/step_to_another_type",
            "names/shared_by_another_path",
            "process_managers/envelope_exists",
        ],
    ),
    (
        "rustc asks how much room the envelope enum takes, and reports that at the attribute",
        &["process_managers/dispatched_not_an_aggregate"],
    ),
    (
        "rustc counts the arguments of a call, and checks each in the place where it stands",
        &["stores/command_sent_without_id"],
    ),
    (
        "rustc's parser and that of the derives say it",
        &["aggregates/state_unfinished", "events/field_unfinished"],
    ),
    (
        "the future of an `async fn` has the bounds of the function, and is asked for them too",
        &["stores/event_sent", "stores/not_an_aggregate"],
    ),
    (
        "rustc says that it does not know this form of an attribute, and not what to write",
        &[
            "arguments/aggregate_equals",
            "arguments/event_store_equals",
            "arguments/process_manager_equals",
            "arguments/projection_equals",
            "items/statement",
        ],
    ),
    (
        "serde's derives report it too",
        &[
            "events/content_without_tag",
            "events/representation_from_another",
            "events/rule_misspelt",
            "events/rule_unknown",
            "events/struct_with_content",
            "events/tag_not_a_string",
            "events/tag_on_a_variant",
            "events/unknown_type",
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
pub fn files(ending: &str) -> Result<Vec<PathBuf>, std::io::Error> {
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
    for mistake in mistakes()? {
        let case = mistake.path();
        let is_excused = excused.iter().position(|excused| *excused == case);
        if let Some(index) = is_excused {
            excused.swap_remove(index);
        }
        assert_eq!(
            mistake.errors.len() > 1,
            is_excused.is_some(),
            "{case} reports {} errors; MORE_THAN_ONE says which may report more than one",
            mistake.errors.len()
        );
    }
    assert!(excused.is_empty(), "there is no case {excused:?}");
    Ok(())
}

/// A twin is another program than its case, and is compiled by `macros/twins.rs`.
#[test]
fn every_mistake_has_a_twin() -> Result<(), Box<dyn Error>> {
    let cases = cases()?;
    assert!(cases.len() >= 80, "{} cases", cases.len());
    for case in &cases {
        assert!(
            case.with_extension("stderr").exists(),
            "{} has no message",
            case.display()
        );
        let twin = case.with_extension("pass.rs");
        let wrong = std::fs::read_to_string(case)?;
        let right = std::fs::read_to_string(&twin)
            .map_err(|error| format!("{}: {error}", twin.display()))?;
        assert_ne!(wrong, right, "{}", case.display());
    }
    assert_eq!(files(".pass.rs")?.len(), cases.len());
    assert_eq!(files(".stderr")?.len(), cases.len());

    let written = std::fs::read_to_string(TWINS)?;
    let (introduction, _) = written
        .split_once("#[path = ")
        .ok_or("the list of twins is empty")?;
    let mut twins = introduction.to_owned();
    for twin in files(".pass.rs")? {
        let twin = twin.to_string_lossy().into_owned();
        let module = twin.trim_start_matches("ui/").trim_end_matches(".pass.rs");
        writeln!(twins, "#[path = \"../../{twin}\"]")?;
        writeln!(twins, "mod {};", module.replace('/', "_"))?;
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(TWINS, twins)?;
    } else {
        assert!(
            written == twins,
            "{TWINS} does not list the twins there are; BLESS=1 writes it anew"
        );
    }
    Ok(())
}
