//! The pages under `docs` show what the macros generate, what rustc prints and the programs of tests.
//!
//! `<!-- begin expansion aggregate -->` … `<!-- end -->` holds a file of `eventfold-es-macros/src/expansions`, `begin file` a
//! file of this repository, `begin mistakes` the tables of `tests/ui`, or those of one macro.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::mistakes::tables;

const DOCS: &str = "../docs";
const END: &str = "<!-- end -->";

/// What belongs between `begin` and `end`.
fn content(what: &str) -> Result<String, Box<dyn Error>> {
    let code = |path: &str| -> Result<String, Box<dyn Error>> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        // What they name is not in scope there.
        Ok(format!("```rust,ignore\n{text}```\n"))
    };
    match what.split_once(' ') {
        None if what == "mistakes" => tables(None),
        Some(("mistakes", page)) => tables(Some(page)),
        Some(("expansion", name)) => code(&format!(
            "../eventfold-es-macros/src/expansions/{name}.expanded.rs"
        )),
        Some(("file", path)) => code(&format!("../{path}")),
        _ => Err(format!("nothing is called {what:?}").into()),
    }
}

/// The page with what belongs between its marks.
fn filled(page: &str) -> Result<String, Box<dyn Error>> {
    let mut filled = String::new();
    let mut rest = page;
    while let Some((before, behind)) = rest.split_once("<!-- begin ") {
        let (what, behind) = behind.split_once(" -->\n").ok_or("a mark is not closed")?;
        let (_, behind) = behind.split_once(END).ok_or("a block has no end")?;
        write!(
            filled,
            "{before}<!-- begin {what} -->\n{}{END}",
            content(what)?
        )?;
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Every page under `directory`.
fn pages(directory: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(pages(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn pages_show_what_there_is() -> Result<(), Box<dyn Error>> {
    let mut blocks = 0;
    for path in pages(Path::new(DOCS))? {
        let written = std::fs::read_to_string(&path)?;
        let filled = filled(&written).map_err(|error| format!("{}: {error}", path.display()))?;
        blocks += filled.matches(END).count();
        if std::env::var_os("BLESS").is_some() {
            // Other tests read the pages meanwhile.
            if written != filled {
                std::fs::write(&path, filled)?;
            }
        } else {
            assert!(
                written == filled,
                "{} is not what there is; BLESS=1 writes it anew",
                path.display()
            );
        }
    }
    assert!(blocks >= 10, "{blocks} blocks");
    Ok(())
}

/// Every expansion that is checked in is on a page.
#[test]
fn every_expansion_is_shown() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    for page in pages(Path::new(DOCS))? {
        text.push_str(&std::fs::read_to_string(page)?);
    }
    for expansion in std::fs::read_dir("../eventfold-es-macros/src/expansions")? {
        let file = expansion?.file_name().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".expanded.rs") else {
            continue;
        };
        assert!(
            text.contains(&format!("({file})"))
                || text.contains(&format!("/{file})"))
                || text.contains(&format!("<!-- begin expansion {name} -->")),
            "{file} is on no page: show it, or link to it"
        );
    }
    Ok(())
}

/// The text of a page outside its code blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// The anchors of a page's headings, as forges make them.
fn anchors(page: &str) -> Vec<String> {
    let headings = prose(page);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter_map(|character| match character {
                ' ' => Some('-'),
                '-' | '_' => Some(character),
                other => other.is_alphanumeric().then_some(other),
            });
            kept.collect()
        })
        .collect()
}

/// Links of the pages and of the README lead to files and headings.
#[test]
fn links_lead_somewhere() -> Result<(), Box<dyn Error>> {
    let mut paths = pages(Path::new(DOCS))?;
    paths.push("../README.md".into());
    let mut links = 0;
    for path in paths {
        let page = std::fs::read_to_string(&path)?;
        for link in prose(&page).split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.starts_with("https://") {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap_or(Path::new("")).join(file),
            };
            assert!(target.exists(), "{} links to {link}", path.display());
            if !anchor.is_empty() {
                let headings = anchors(&std::fs::read_to_string(&target)?);
                assert!(
                    headings.iter().any(|heading| heading == anchor),
                    "{} links to {link}, and there is no such heading",
                    path.display()
                );
            }
        }
    }
    assert!(links >= 100, "{links} links");
    Ok(())
}
