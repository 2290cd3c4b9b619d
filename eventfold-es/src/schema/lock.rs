//! The comparison of a program's schema with the file that is checked in.

use std::fmt;
use std::path::{Path, PathBuf};

use super::change::{Change, Verdict, compare};
use super::declared::Schema;
use super::read::parse;

/// The environment variable that makes [`Schema::check`] write the lock again: set it to `1`.
pub const BLESS: &str = "EVENTFOLD_BLESS";

impl Schema {
    /// Compares the program with a lock. Returns the changes, breaking changes first.
    ///
    /// # Errors
    ///
    /// [`LockError::Malformed`] if `lock` is not in the form of [`to_lock`](Self::to_lock); its path is empty.
    pub fn compare(&self, lock: &str) -> Result<Vec<Change>, LockError> {
        let locked = parse(lock).map_err(|malformed| LockError::Malformed {
            path: PathBuf::new(),
            line: malformed.line,
            reason: malformed.reason,
        })?;
        Ok(compare(&locked, &self.parts))
    }

    /// Compares the program with the lock in the file `path`, which is checked in. Call it in one line of a test.
    ///
    /// Any difference is an error, so that the lock always has the stored shapes. Its text lists each change, says
    /// whether it is breaking, and gives the remedy. With `EVENTFOLD_BLESS=1` in the environment, it writes the file
    /// again instead, and prints the changes to standard error. A relative path starts at the working directory. Under
    /// `cargo test` that is the directory of the package.
    ///
    /// It compares names, fields, types and serde's attributes as the declarations write them. This covers events with
    /// their older shapes, the states of aggregates and process managers, the messages of deadlines, and the rows of
    /// projections with their keys and indexes. Of an event handler it covers the subscriptions and the key. The shape of a type in a field, an older shape or a message is known if it derives [`StoredShape`](super::StoredShape).
    /// Otherwise the lock has only its name, and a change inside the type is not detected.
    ///
    /// # Errors
    ///
    /// [`LockError`]. Its `Debug` is its text, so that a test may return it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum LampCommand { Switch }
    /// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum LampEvent { Switched }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Lamp { on: bool }
    /// # impl Decider for Lamp {
    /// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![]) }
    /// #     fn evolve(&mut self, _: &LampEvent) {}
    /// # }
    /// #[event_store(aggregates = [Lamp])]
    /// struct House;
    ///
    /// # /*
    /// #[test]
    /// # */
    /// fn stored_shapes_are_as_agreed() -> Result<(), eventfold_es::schema::LockError> {
    ///     House::schema().check("events.lock")
    /// }
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("events.lock");
    /// # std::fs::write(&path, House::schema().to_lock()).unwrap();
    /// # House::schema().check(&path).unwrap();
    /// ```
    pub fn check(&self, path: impl AsRef<Path>) -> Result<(), LockError> {
        let is_blessed =
            std::env::var_os(BLESS).is_some_and(|value| !value.is_empty() && value != "0");
        self.check_or_bless(path.as_ref(), is_blessed)
    }

    fn check_or_bless(&self, path: &Path, is_blessed: bool) -> Result<(), LockError> {
        let failed = |error| LockError::File {
            path: path.to_owned(),
            error,
        };
        let lock = match std::fs::read_to_string(path) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let compared = lock.as_deref().map(|lock| self.compare(lock));
        if is_blessed {
            if let Some(Ok(changes)) = &compared {
                for change in changes {
                    eprintln!("{}: {change}", path.display());
                }
            }
            return std::fs::write(path, self.to_lock()).map_err(failed);
        }
        match compared {
            None => Err(LockError::Missing {
                path: path.to_owned(),
            }),
            Some(Err(LockError::Malformed { line, reason, .. })) => Err(LockError::Malformed {
                path: path.to_owned(),
                line,
                reason,
            }),
            Some(Err(error)) => Err(error),
            Some(Ok(changes)) if changes.is_empty() => Ok(()),
            Some(Ok(changes)) => Err(LockError::Changed {
                path: path.to_owned(),
                changes,
            }),
        }
    }
}

/// A failed comparison with a lock.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// There is no lock yet.
    #[error("there is no {}: run the test once with EVENTFOLD_BLESS=1, and check the file in", path.display())]
    Missing {
        /// The path of the missing file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The file is not a lock.
    #[error(
        "{}:{line}: {reason}. Restore the file, or write it anew with EVENTFOLD_BLESS=1", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The problem of the line.
        reason: String,
    },
    /// The program has changed.
    #[error("{}", Changed { path, changes })]
    Changed {
        /// The lock.
        path: PathBuf,
        /// The changes, breaking changes first.
        changes: Vec<Change>,
    },
}

impl fmt::Debug for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Changed<'a> {
    path: &'a Path,
    changes: &'a [Change],
}

impl fmt::Display for Changed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        writeln!(f, "the stored shapes are not those of {path}:\n")?;
        for change in self.changes {
            writeln!(f, "{change}\n")?;
        }
        let breaking = self
            .changes
            .iter()
            .filter(|change| change.verdict == Verdict::Breaking)
            .count();
        if breaking > 0 {
            write!(
                f,
                "{breaking} of {} would break what is stored: see to them first. Then run the test with {BLESS}=1, and check {path} in.",
                self.changes.len(),
            )
        } else {
            write!(
                f,
                "Nothing breaks: run the test with {BLESS}=1, and check {path} in."
            )
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::schema::declared::{
        AggregateShapes, Data, EventShape, IndexShape, RowShapes, StateShape, TypeShape, Value,
    };

    fn schema(events: Vec<EventShape>) -> Schema {
        let mut schema = Schema::new("Shop");
        schema.parts.aggregates.push(AggregateShapes {
            name: "order".to_owned(),
            events,
            state: StateShape {
                version: 0,
                data: Data::Unknown,
                types: Vec::new(),
            },
        });
        schema
    }

    fn named(name: &str, data: Data, types: Vec<TypeShape>) -> TypeShape {
        TypeShape {
            name: name.to_owned(),
            data,
            types,
        }
    }

    fn odd() -> Schema {
        let value = |name: &str, type_name: &str| Value {
            name: name.to_owned(),
            aliases: vec!["a b".to_owned(), "\"".to_owned()],
            type_name: type_name.to_owned(),
            is_optional: true,
            form: "with = \"m::n\"".to_owned(),
        };
        let mut schema = schema(vec![
            EventShape {
                name: "order placed: \"x\"\n".to_owned(),
                aliases: vec!["version".to_owned(), "retired".to_owned(), String::new()],
                version: 7,
                is_retired: true,
                data: Data::Struct {
                    fields: vec![value("a: b", "BTreeMap<String, (u8, [u8; 4])>")],
                    is_strict: true,
                },
                types: vec![
                    named("a :: Line<\"x\">", Data::Enum(Vec::new()), Vec::new()),
                    named("past", Data::Unit, Vec::new()),
                    named(
                        "type",
                        Data::Custom("untagged: past".to_owned()),
                        Vec::new(),
                    ),
                ],
                past: vec![
                    named(
                        "PlacedV1",
                        Data::Tuple(Vec::new()),
                        vec![named("type", Data::Unit, Vec::new())],
                    ),
                    named("()", Data::Unknown, Vec::new()),
                ],
            },
            EventShape {
                name: "also".to_owned(),
                aliases: Vec::new(),
                version: 1,
                is_retired: false,
                data: Data::Tuple(vec![value("0", "&'static str")]),
                types: Vec::new(),
                past: Vec::new(),
            },
        ]);
        let index = |name: &str, type_name: &str| IndexShape {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
        };
        schema.parts.projections.push(RowShapes {
            name: "key: index".to_owned(),
            key: "(u8, \"x\" :: Key)".to_owned(),
            indexes: vec![
                index("a: \"b\"", "BTreeMap<String, [u8; 4]>"),
                index("row", ""),
            ],
            row: StateShape {
                version: 3,
                data: Data::Struct {
                    fields: vec![value("row", "u8")],
                    is_strict: false,
                },
                types: Vec::new(),
            },
        });
        schema.parts.projections.push(RowShapes {
            name: "by hand".to_owned(),
            key: String::new(),
            indexes: vec![index("city", "String")],
            row: StateShape {
                version: 1,
                data: Data::Unknown,
                types: Vec::new(),
            },
        });
        schema
    }

    #[test]
    fn whatever_is_called_how_is_read_as_it_was_written() {
        let schema = odd();
        let text = schema.to_lock();
        assert_eq!(
            parse(&text).map_err(|error| error.reason).unwrap(),
            schema.parts
        );
        assert!(schema.compare(&text).unwrap().is_empty());
    }

    #[test]
    fn blessing_writes_the_file_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.lock");
        let before = schema(Vec::new());
        assert!(matches!(
            before.check_or_bless(&path, false),
            Err(LockError::Missing { .. })
        ));
        assert!(!path.exists());
        before.check_or_bless(&path, true).unwrap();
        before.check_or_bless(&path, false).unwrap();
        let error = odd().check_or_bless(&path, false).unwrap_err();
        assert!(matches!(error, LockError::Changed { .. }), "{error}");
        before.check_or_bless(&path, false).unwrap();
        odd().check_or_bless(&path, true).unwrap();
        odd().check_or_bless(&path, false).unwrap();
        std::fs::write(&path, "nonsense").unwrap();
        let error = odd().check_or_bless(&path, false).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("events.lock:1: expected `format 1`"),
            "{error}"
        );
        odd().check_or_bless(&path, true).unwrap();
        odd().check_or_bless(&path, false).unwrap();
    }

    /// A cut or changed line is never accepted as a lock.
    #[test]
    fn a_broken_file_is_an_error_and_no_panic() {
        let text = odd().to_lock();
        for end in 0..text.len() {
            let Some(cut) = text.get(..end) else { continue };
            if let Ok(changes) = odd().compare(cut) {
                let is_whole = cut.trim_end() == text.trim_end();
                assert!(is_whole || !changes.is_empty(), "{cut}");
            }
        }
    }
}
