//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use eventfold_es::RunMode;

/// The output of `--help`.
pub const USAGE: &str = "\
Runs the invoices of a CSV file through an event-sourced order workflow.

Usage: order_fulfillment [CSV] [STORE_DIR] [--run-mode MODE] [--sql FILE]
       order_fulfillment --topology LANGUAGE

Arguments:
  [CSV]        invoices, with the columns InvoiceNo, StockCode, Description, Quantity, InvoiceDate,
               UnitPrice, CustomerID and Country [default: the 10,000 lines that come with the example]
  [STORE_DIR]  where the store lives; run it again on the same directory and nothing happens twice
               [default: a temporary directory]

Options:
  --run-mode MODE  when the saga reacts to an order [default: inline]
                     inline      before the command that placed it returns
                     background  soon after, in a task of the store
                     on-demand   when all commands are done
  --sql FILE       also write the sales to this SQLite database, and print the ten best articles from it
  --topology LANGUAGE  print what the store is made of, and run nothing
                     mermaid     for Markdown
                     dot         for Graphviz
                     json        for other tools
  -h, --help       print this
";

/// The request of the user.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// `--help`.
    Help,
    /// `--topology`.
    Topology(Language),
    /// To run the workflow.
    Run(Arguments),
}

/// The language of a topology.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Language {
    Mermaid,
    Dot,
    Json,
}

/// The input, the store, and the mode of a run.
#[derive(Debug, PartialEq)]
pub struct Arguments {
    /// The invoices; the shipped ones if there is no path.
    pub csv: Option<PathBuf>,
    /// The store's directory; a temporary one if there is no path.
    pub store: Option<PathBuf>,
    /// The run mode of the saga.
    pub run_mode: RunMode,
    /// The SQLite database of the sales, if they are wanted in SQL.
    pub sql: Option<PathBuf>,
}

/// A command line with a mistake.
#[derive(Debug, PartialEq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (--help tells what is possible)", self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments, without the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut arguments = arguments.into_iter();
    let mut paths = Vec::new();
    let mut run_mode = None;
    let mut sql = None;
    let mut only_paths = false;
    while let Some(argument) = arguments.next() {
        let option = match argument.to_str() {
            Some(text) if !only_paths && text.len() > 1 && text.starts_with('-') => text,
            _ => {
                paths.push(argument);
                continue;
            }
        };
        match option {
            "-h" | "--help" => return Ok(Request::Help),
            "--" => only_paths = true,
            "--run-mode" => {
                let value = arguments.next().ok_or_else(|| missing_mode("nothing"))?;
                set_mode(&mut run_mode, &value.to_string_lossy())?;
            }
            "--sql" => set_sql(&mut sql, arguments.next().unwrap_or_default())?,
            "--topology" => {
                let value = arguments.next().unwrap_or_default();
                return language(&value.to_string_lossy()).map(Request::Topology);
            }
            _ => match option.split_once('=') {
                Some(("--run-mode", value)) => set_mode(&mut run_mode, value)?,
                Some(("--sql", value)) => set_sql(&mut sql, value.into())?,
                Some(("--topology", value)) => return language(value).map(Request::Topology),
                _ => return Err(UsageError(format!("there is no option `{option}`"))),
            },
        }
    }
    let mut paths = paths.into_iter().map(PathBuf::from);
    let (csv, store) = (paths.next(), paths.next());
    if let Some(path) = paths.next() {
        let path = path.display();
        return Err(UsageError(format!(
            "`{path}` is one argument too many: expected are a CSV file and a store directory"
        )));
    }
    for (path, what) in [(&csv, "CSV file"), (&store, "store directory")] {
        if path
            .as_ref()
            .is_some_and(|path| path.as_os_str().is_empty())
        {
            return Err(UsageError(format!("the path of the {what} is empty")));
        }
    }
    Ok(Request::Run(Arguments {
        csv,
        store,
        run_mode: run_mode.unwrap_or_default(),
        sql,
    }))
}

fn set_mode(run_mode: &mut Option<RunMode>, value: &str) -> Result<(), UsageError> {
    let mode = match value {
        "inline" => RunMode::Inline,
        "background" => RunMode::Background,
        "on-demand" => RunMode::OnDemand,
        other => return Err(missing_mode(&format!("`{other}`"))),
    };
    match run_mode.replace(mode) {
        None => Ok(()),
        Some(_) => Err(UsageError("`--run-mode` is given twice".to_owned())),
    }
}

fn set_sql(sql: &mut Option<PathBuf>, value: OsString) -> Result<(), UsageError> {
    if value.is_empty() {
        return Err(UsageError("`--sql` expects a file".to_owned()));
    }
    match sql.replace(value.into()) {
        None => Ok(()),
        Some(_) => Err(UsageError("`--sql` is given twice".to_owned())),
    }
}

fn language(value: &str) -> Result<Language, UsageError> {
    match value {
        "mermaid" => Ok(Language::Mermaid),
        "dot" => Ok(Language::Dot),
        "json" => Ok(Language::Json),
        other => Err(UsageError(format!(
            "`--topology` expects mermaid, dot or json, and found `{other}`"
        ))),
    }
}

fn missing_mode(found: &str) -> UsageError {
    UsageError(format!(
        "`--run-mode` expects inline, background or on-demand, and found {found}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Request, UsageError> {
        parse(arguments.iter().map(OsString::from))
    }

    fn run(
        csv: Option<&str>,
        store: Option<&str>,
        run_mode: RunMode,
    ) -> Result<Request, UsageError> {
        Ok(Request::Run(Arguments {
            csv: csv.map(PathBuf::from),
            store: store.map(PathBuf::from),
            run_mode,
            sql: None,
        }))
    }

    #[test]
    fn everything_has_a_default() {
        assert_eq!(parsed(&[]), run(None, None, RunMode::Inline));
        assert_eq!(
            parsed(&["a.csv"]),
            run(Some("a.csv"), None, RunMode::Inline)
        );
    }

    #[test]
    fn options_stand_anywhere() {
        let expected = run(Some("a.csv"), Some("dir"), RunMode::Background);
        for arguments in [
            ["a.csv", "dir", "--run-mode", "background"],
            ["--run-mode", "background", "a.csv", "dir"],
            ["a.csv", "--run-mode=background", "--", "dir"],
        ] {
            assert_eq!(parsed(&arguments), expected);
        }
        assert_eq!(
            parsed(&["--run-mode", "on-demand", "--", "-x.csv"]),
            run(Some("-x.csv"), None, RunMode::OnDemand)
        );
        for arguments in [&["--sql", "a.db"][..], &["--sql=a.db"]] {
            let Ok(Request::Run(arguments)) = parsed(arguments) else {
                panic!("{arguments:?}");
            };
            assert_eq!(arguments.sql, Some(PathBuf::from("a.db")));
        }
        assert_eq!(parsed(&["a.csv", "--help"]), Ok(Request::Help));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (arguments, expected) in [
            (&["--mode", "inline"][..], "there is no option `--mode`"),
            (&["--run-mode"], "found nothing"),
            (&["--run-mode", "fast"], "found `fast`"),
            (&["--run-mode=inline", "--run-mode=inline"], "given twice"),
            (&["--sql"], "`--sql` expects a file"),
            (&["--sql=a", "--sql", "b"], "given twice"),
            (&["a", "b", "c"], "`c` is one argument too many"),
            (&[""], "the path of the CSV file is empty"),
        ] {
            let error = parsed(arguments).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
