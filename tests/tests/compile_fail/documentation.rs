//! The pages under `docs/macros` show what the macros generate, what rustc prints and the programs of tests.
//!
//! `<!-- begin expansion aggregate -->` … `<!-- end -->` holds a file of `eventfold-es-macros/src/expansions`, `begin file` a
//! file of this repository, `begin mistakes` the tables of `tests/ui`, or those of one macro.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use crate::mistakes::tables;

const PAGES: &str = "../docs/macros";
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

#[test]
fn pages_show_what_there_is() -> Result<(), Box<dyn Error>> {
    let mut blocks = 0;
    for page in std::fs::read_dir(Path::new(PAGES))? {
        let path = page?.path();
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
    let mut pages = String::new();
    for page in std::fs::read_dir(Path::new(PAGES))? {
        pages.push_str(&std::fs::read_to_string(page?.path())?);
    }
    for expansion in std::fs::read_dir("../eventfold-es-macros/src/expansions")? {
        let file = expansion?.file_name().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".expanded.rs") else {
            continue;
        };
        assert!(
            pages.contains(&format!("({file})"))
                || pages.contains(&format!("/{file})"))
                || pages.contains(&format!("<!-- begin expansion {name} -->")),
            "{file} is on no page: show it, or link to it"
        );
    }
    Ok(())
}

/// Links within the pages lead somewhere.
#[test]
fn links_lead_somewhere() -> Result<(), Box<dyn Error>> {
    for page in std::fs::read_dir(Path::new(PAGES))? {
        let path = page?.path();
        for target in std::fs::read_to_string(&path)?.split("](").skip(1) {
            let target = target.split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default();
            let leads = target.is_empty()
                || target.starts_with("https://")
                || Path::new(PAGES).join(target).exists();
            assert!(leads, "{} links to {target}", path.display());
        }
    }
    Ok(())
}
