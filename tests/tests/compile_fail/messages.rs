//! Every message that the macros can give is in the table of mistakes, so that there is a case in which it is printed.

use std::error::Error;
use std::path::{Path, PathBuf};

use crate::mistakes::tables;

const MACROS: &str = "../eventfold-es-macros/src";

/// The sources of the macros, without those of their tests.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), std::io::Error> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("expansions") && !path.ends_with("cost") {
                sources(&path, found)?;
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The string literals of a program, each with the line that it is in up to it.
fn literals(program: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut line = String::new();
    let mut characters = program.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => line.clear(),
            '/' if characters.peek() == Some(&'/') => {
                while characters.next_if(|next| *next != '\n').is_some() {}
            }
            // A character, and not a lifetime.
            '\'' => {
                let mut ahead = characters.clone();
                let first = ahead.next();
                let second = ahead.next();
                if first == Some('\\') {
                    ahead.next();
                }
                if first == Some('\\') || second == Some('\'') {
                    characters = ahead;
                }
            }
            '"' => {
                let mut literal = String::new();
                while let Some(character) = characters.next_if(|next| *next != '"') {
                    if character != '\\' {
                        literal.push(character);
                    } else if characters.peek() == Some(&'\n') {
                        while characters.next_if(|next| next.is_whitespace()).is_some() {}
                    } else if let Some(escaped) = characters.next() {
                        literal.push(escaped);
                    }
                }
                characters.next();
                found.push((line.clone(), literal));
            }
            other => line.push(other),
        }
    }
    found
}

/// Whether a literal is something that is said about a mistake: it has several words, and is no documentation of what is
/// generated, which begins with a space.
fn is_said(before: &str, literal: &str) -> bool {
    let is_other = [
        "reason = ",
        "#[cfg",
        "::std::panic!",
        "without being finished",
        // The tests have the feature; a test of the macros compares it.
        "needs the feature",
    ]
    .iter()
    .any(|other| before.contains(other) || literal.contains(other));
    let words = literal.split_whitespace().count();
    words > 1 && !literal.starts_with(' ') && !is_other
}

/// The longest piece of a literal that is printed as it stands there: what is between `{}`s.
fn longest_piece(literal: &str) -> String {
    let braces = literal.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let pieces = braces.split(['{', '}']).step_by(2);
    let pieces = pieces.flat_map(|piece| piece.split(['\u{1}', '\u{2}']));
    pieces
        .max_by_key(|piece| piece.len())
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn every_message_is_in_the_table_of_mistakes() -> Result<(), Box<dyn Error>> {
    let table = tables(None)?.replace("\\|", "|").replace("&lt;", "<");
    let mut files = Vec::new();
    sources(Path::new(MACROS), &mut files)?;
    let mut messages = 0;
    let mut missing = Vec::new();
    for file in &files {
        let program = std::fs::read_to_string(file)?;
        let program = program.split("#[cfg(test)]\nmod tests").next();
        for (before, literal) in literals(program.unwrap_or_default()) {
            if !is_said(&before, &literal) {
                continue;
            }
            messages += 1;
            if !table.contains(&longest_piece(&literal)) {
                missing.push(format!("{}: {literal:?}", file.display()));
            }
        }
    }
    assert!(messages >= 150, "{messages} messages");
    assert!(
        missing.is_empty(),
        "no case prints these, so that they are not in docs/reference/mistakes.md:\n{}",
        missing.join("\n")
    );
    Ok(())
}

/// Every argument that a macro takes has a row on its page and in its documentation, and there is no row of another one.
#[test]
fn every_argument_is_documented() -> Result<(), Box<dyn Error>> {
    let read = |path: &str| -> Result<String, Box<dyn Error>> {
        Ok(std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?)
    };
    let grammar = read(&format!("{MACROS}/attributes/grammar.rs"))?;
    let (_, names) = grammar
        .split_once("fn name(self)")
        .ok_or("no names of arguments")?;
    let (names, _) = names.split_once("\n    }\n").ok_or("no end")?;
    let name_of = |key: &str| -> Option<String> {
        let (_, name) = names.split_once(&format!("Self::{key} => \""))?;
        Some(name.split('"').next()?.to_owned())
    };
    let entries = read(&format!("{MACROS}/lib.rs"))?;
    for name in [
        "aggregate",
        "process_manager",
        "event_handler",
        "projection",
        "schedule",
        "event_store",
    ] {
        let model = read(&format!("{MACROS}/{name}/model.rs"))?;
        let (_, keys) = model.split_once("keys: &[").ok_or("a grammar has keys")?;
        let keys = keys.split(']').next().unwrap_or_default();
        let mut expected: Vec<String> = keys
            .split("Key::")
            .skip(1)
            .filter_map(|key| name_of(key.split([',', '\n', ' ']).next()?))
            .collect();
        expected.sort();
        assert!(expected.len() >= 4, "{name}: {expected:?}");

        let page = read(&format!("../docs/reference/{name}.md"))?;
        let (_, page) = page
            .split_once("## Arguments")
            .ok_or("a page has arguments")?;
        let (entry, _) = entries
            .split_once(&format!("pub fn {name}("))
            .ok_or("a macro has an entry")?;
        let (_, entry) = entry
            .rsplit_once("# Arguments")
            .ok_or("an entry has arguments")?;
        let entry = entry.replace("\n/// ", "\n");
        for (place, text) in [("its page", page), ("its documentation", entry.as_str())] {
            let (_, table) = text
                .split_once("|---|")
                .ok_or("arguments stand in a table")?;
            let rows = table
                .lines()
                .skip(1)
                .take_while(|line| line.starts_with('|'));
            let mut documented: Vec<String> = rows
                .filter_map(|row| Some(row.split('`').nth(1)?.to_owned()))
                .collect();
            documented.sort();
            assert_eq!(documented, expected, "{place} and the code of `{name}`");
        }
    }
    Ok(())
}

#[test]
fn literals_are_found_as_they_are_printed() {
    let program = r#"
        // "in a comment"
        let quote = '"'; let line = '\n';
        fn f<'a>() { error("one `{name}` {{type}} two \
            three", 'x') }
    "#;
    let literals: Vec<String> = literals(program)
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(literals, ["one `{name}` {{type}} two three"]);
    assert_eq!(longest_piece(&literals[0]), " two three");
    assert_eq!(longest_piece("`{a}` is {b}"), "` is ");
    assert!(is_said("error(", &literals[0]));
    assert!(!is_said("format!(", " A command."));
}
