//! What rustc prints for the cases, and the tables that are made from it.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use crate::files;

/// One error of rustc's.
pub struct Reported {
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

/// One case.
pub struct Mistake {
    /// The directory it is in.
    class: String,
    name: String,
    /// The page of the documentation that it belongs to: that of the macro that it is about.
    page: &'static str,
    /// At least one.
    pub errors: Vec<Reported>,
}

impl Mistake {
    /// `class/name`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.class, self.name)
    }

    fn row(&self) -> String {
        let mut messages: Vec<String> = Vec::new();
        for error in &self.errors {
            let message = escaped(&error.in_full());
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        let repeated = match self.errors.len() - messages.len() {
            0 => String::new(),
            1 => " (and once more)".to_owned(),
            again => format!(" (and {again} times more)"),
        };
        format!(
            "| [{}](../../tests/ui/{}.rs) | {}{repeated} |",
            self.name.replace('_', " "),
            self.path(),
            messages.join("<br>"),
        )
    }
}

/// Every case, in the order of their paths.
pub fn mistakes() -> Result<Vec<Mistake>, Box<dyn Error>> {
    let mut mistakes = Vec::new();
    for path in files(".stderr")? {
        let name = |path: Option<&std::ffi::OsStr>| {
            path.unwrap_or_default().to_string_lossy().into_owned()
        };
        let class = name(path.parent().and_then(Path::file_name));
        let errors = errors(&std::fs::read_to_string(&path)?);
        if errors.is_empty() {
            return Err(format!("{} reports nothing", path.display()).into());
        }
        let program = std::fs::read_to_string(path.with_extension("rs"))?;
        mistakes.push(Mistake {
            page: page(&class, &program),
            name: name(path.file_stem()),
            class,
            errors,
        });
    }
    Ok(mistakes)
}

fn page(class: &str, program: &str) -> &'static str {
    match class {
        "aggregates" => return "aggregate",
        "events" => return "domain_event",
        "evolution" => return "evolution",
        "schedules" => return "schedule",
        "stores" => return "store",
        _ => {}
    }
    // A program that has several of them is about the one that uses the others.
    let pages = [
        "event_store",
        "event_handler",
        "process_manager",
        "projection",
        "aggregate",
    ];
    let about = pages
        .iter()
        .find(|page| program.contains(&format!("#[{page}")));
    about.copied().unwrap_or("domain_event")
}

/// The tables of all classes, or of the cases of one page.
pub fn tables(only: Option<&str>) -> Result<String, Box<dyn Error>> {
    let mut tables = String::new();
    let mut class = String::new();
    for mistake in mistakes()? {
        if only.is_some_and(|page| page != mistake.page) {
            continue;
        }
        if only.is_none() && mistake.class != class {
            class.clone_from(&mistake.class);
            writeln!(tables, "\n## {}\n", class.replace('_', " "))?;
            writeln!(tables, "| mistake | message |\n|---|---|")?;
        } else if tables.is_empty() {
            writeln!(tables, "| mistake | message |\n|---|---|")?;
        }
        writeln!(tables, "{}", mistake.row())?;
    }
    Ok(tables)
}

/// Text as a cell of a Markdown table; what is between backticks stays as it is, but for the bars that would end the cell.
fn escaped(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let escaped: Vec<String> = parts
        .map(|(index, part)| match index % 2 {
            0 => part.replace('|', "\\|").replace('<', "&lt;"),
            _ => part.replace('|', "\\|"),
        })
        .collect();
    escaped.join("`")
}
