//! The prose of the pages, the README and the documentation comments: no sentence that is too long, and fewer and fewer of the
//! phrases that make a sentence hard to read.

use std::error::Error;
use std::path::{Path, PathBuf};

/// A sentence has at most this many words.
const MAX_WORDS: usize = 33;

/// Phrases, each with the number of times it may still occur. A rewrite lowers the number; nothing raises it.
const PHRASES: &[(&str, usize)] = &[
    ("what becomes of", 0),
    ("what became of", 0),
    ("what comes of", 0),
    ("what came of", 0),
    ("whether there is", 2),
    ("cannot be told", 0),
    ("be told", 0),
    (" for ever ", 0),
    ("goes on with", 0),
    ("goes on behind", 0),
    ("taken over", 0),
    ("is shown", 0),
    ("was shown", 0),
    ("shown again", 0),
    ("reacted to", 2),
    (" one that ", 0),
    ("somebody", 1),
    ("nobody", 2),
    ("whoever", 1),
    ("whatever", 4),
    ("what was ", 0),
    ("what it ", 0),
    ("what they ", 0),
    ("comes to", 0),
    ("handed over", 0),
    ("built anew", 1),
    ("passed over", 0),
    ("where it stands", 1),
    ("how many ", 0),
    ("how much ", 1),
    ("recognise", 0),
    ("serialise", 0),
    ("behaviour", 0),
    ("misspelt", 0),
];

/// What is read, below the repository.
const PLACES: &[&str] = &[
    "README.md",
    "docs",
    "eventfold-es/src",
    "eventfold-es-macros/src",
];

/// A paragraph without code, headings and tables.
struct Paragraph {
    file: PathBuf,
    line: usize,
    text: String,
}

fn files(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), std::io::Error> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let is_read = path
            .extension()
            .is_some_and(|ending| ending == "md" || ending == "rs");
        // The expansions are golden files.
        if path.is_dir() && !path.ends_with("expansions") || is_read {
            files(&path, found)?;
        }
    }
    found.sort();
    Ok(())
}

/// The lines of a file that are prose: all of a page, the documentation comments of a program.
fn prose_of(file: &Path) -> Result<String, std::io::Error> {
    let text = std::fs::read_to_string(file)?;
    if file.extension().is_some_and(|ending| ending == "md") {
        return Ok(text);
    }
    let lines = text.lines().map(|line| {
        let line = line.trim_start();
        let comment = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        comment.filter(|rest| !rest.starts_with('/')).unwrap_or("")
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The item of a list, without its mark.
fn item(line: &str) -> Option<&str> {
    let number = line.trim_start_matches(|character: char| character.is_ascii_digit());
    let marked = match number.len() < line.len() {
        true => number.strip_prefix(". "),
        false => None,
    };
    marked.or_else(|| line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")))
}

fn paragraphs_of(file: &Path, prose: &str) -> Vec<Paragraph> {
    let mut found: Vec<Paragraph> = Vec::new();
    let mut is_code = false;
    let mut is_open = false;
    for (index, line) in prose.lines().enumerate() {
        let line = line.trim();
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        let is_link = line.starts_with('[') && line.contains("]: ");
        let is_other = line.is_empty() || line.starts_with(['|', '#', '<']) || is_link;
        if is_fence || is_code || is_other {
            is_open = false;
            continue;
        }
        let item = item(line);
        match found.last_mut() {
            Some(last) if is_open && item.is_none() => {
                last.text.push(' ');
                last.text.push_str(line);
            }
            _ => found.push(Paragraph {
                file: file.to_owned(),
                line: index + 1,
                text: item.unwrap_or(line).to_owned(),
            }),
        }
        is_open = true;
    }
    found
}

fn paragraphs() -> Result<Vec<Paragraph>, Box<dyn Error>> {
    let mut paths = Vec::new();
    for place in PLACES {
        files(&Path::new("..").join(place), &mut paths)?;
    }
    let mut found = Vec::new();
    for path in paths {
        found.extend(paragraphs_of(&path, &prose_of(&path)?));
    }
    Ok(found)
}

/// The text with each piece of code as one word, and links without their targets.
fn words_only(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split('`').enumerate() {
        plain.push_str(if index % 2 == 0 { part } else { "code" });
    }
    let mut kept = String::new();
    for (index, part) in plain.split("](").enumerate() {
        let part = match index {
            0 => part,
            _ => part.split_once(')').map_or("", |(_, behind)| behind),
        };
        kept.push_str(part);
    }
    kept
}

/// The sentences of a paragraph: each ends with a mark before a space.
fn sentences(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for word in words_only(text).split_whitespace() {
        if let Some(last) = found.last_mut() {
            last.push(' ');
            last.push_str(word);
        }
        if word
            .trim_end_matches(['*', ')', '"', ']'])
            .ends_with(['.', '!', '?'])
        {
            found.push(String::new());
        }
    }
    found
}

#[test]
fn no_sentence_is_too_long() -> Result<(), Box<dyn Error>> {
    let paragraphs = paragraphs()?;
    assert!(paragraphs.len() > 1000, "{} paragraphs", paragraphs.len());
    let mut long = Vec::new();
    for Paragraph { file, line, text } in &paragraphs {
        for sentence in sentences(text) {
            let words = sentence.split_whitespace().count();
            if words > MAX_WORDS {
                let file = file.display();
                long.push(format!("{file}:{line}: {words} words:{sentence}"));
            }
        }
    }
    assert!(
        long.is_empty(),
        "sentences of more than {MAX_WORDS} words; make two of each:\n{}",
        long.join("\n")
    );
    Ok(())
}

#[test]
fn phrases_become_fewer() -> Result<(), Box<dyn Error>> {
    let paragraphs = paragraphs()?;
    for (phrase, allowed) in PHRASES {
        let mut places = Vec::new();
        for Paragraph { file, line, text } in &paragraphs {
            let text = format!(" {} ", words_only(text).to_lowercase());
            for _ in 0..text.matches(phrase).count() {
                places.push(format!("{}:{line}", file.display()));
            }
        }
        assert!(
            places.len() <= *allowed,
            "{phrase:?} occurs {} times, and {allowed} are allowed; name the thing instead:\n{}",
            places.len(),
            places.join("\n")
        );
        if places.len() < *allowed {
            println!("{phrase:?} occurs {} times: lower {allowed}", places.len());
        }
    }
    Ok(())
}

#[test]
fn sentences_are_found() {
    let page = "# A heading\n\nOne `a. b` [two](https://a.b/c). Three\nfour!\n\n- Five.\n- Six\n  seven.\n\n```\nno\n```\n| no |\n1. Eight\n";
    let found = paragraphs_of(Path::new("page.md"), page);
    let found: Vec<String> = found
        .iter()
        .flat_map(|paragraph| sentences(&paragraph.text))
        .filter(|sentence| !sentence.is_empty())
        .collect();
    assert_eq!(
        found,
        [
            " One code [two.",
            " Three four!",
            " Five.",
            " Six seven.",
            " Eight"
        ]
    );
}
