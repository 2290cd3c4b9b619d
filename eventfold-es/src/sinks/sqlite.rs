use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, ffi};

use crate::projection::{Sink, SinkFault};

const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The commit of a large rebuild writes much at once.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// A SQLite database in a file, as the sink of projections (feature `sqlite`, with a bundled SQLite).
///
/// Each projection has its own connection. The database is in
/// [WAL mode](https://www.sqlite.org/wal.html) with `synchronous = NORMAL`, so that readers never wait for the projection. A
/// power loss may take back the last transactions, as a whole. The projection then goes on from the older position.
///
/// Its table `eventfold_progress` has the columns `projection` and `progress`, with one line of JSON for each projection.
/// SQLite writes one transaction at a time. While another connection writes, the projection waits, for five seconds at
/// most, and then tries again.
///
/// # Examples
///
/// ```
/// # use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum OrderCommand { Place { country: String } }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed { country: String } }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> {
/// #         let OrderCommand::Place { country } = command;
/// #         Ok(vec![OrderEvent::Placed { country }])
/// #     }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
/// use std::time::Duration;
///
/// use eventfold_es::Sqlite;
/// use eventfold_es::rusqlite::{self, Transaction, params};
///
/// /// The number of orders for each country.
/// #[projection(subscribes = [Order], sink = Sqlite)]
/// pub struct OrdersByCountry;
///
/// impl Prepare for OrdersByCountry {
///     fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
///         tx.execute_batch(
///             "DROP TABLE IF EXISTS orders_by_country;
///              CREATE TABLE orders_by_country (country TEXT PRIMARY KEY, orders INTEGER NOT NULL);",
///         )
///     }
/// }
///
/// impl ProjectInto<Order> for OrdersByCountry {
///     fn project(event: &OrderEvent, _cx: &EventContext<'_>, tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
///         let OrderEvent::Placed { country } = event;
///         let upsert = "INSERT INTO orders_by_country VALUES (?1, 1)
///                       ON CONFLICT (country) DO UPDATE SET orders = orders + 1";
///         tx.prepare_cached(upsert)?.execute(params![country])?;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let database = directory.path().join("report.db");
/// let store = AggregateStore::builder(directory.path().join("store"))
///     .projection::<OrdersByCountry>()
///     .sink(Sqlite::file(&database))
///     .open()
///     .await?;
/// let placed = store.send("ord-1", OrderCommand::Place { country: "CH".into() }, ()).await?;
/// store.wait_for::<OrdersByCountry>(placed.position, Duration::from_secs(5)).await?;
///
/// let report = rusqlite::Connection::open(&database)?;
/// let orders: u32 = report.query_row("SELECT orders FROM orders_by_country", [], |row| row.get(0))?;
/// assert_eq!(orders, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sqlite {
    path: PathBuf,
    busy_timeout: Duration,
    timeout: Duration,
}

impl Sqlite {
    /// The database in the file at `path`, which is created if it is missing. Its directory has to exist.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            busy_timeout: DEFAULT_BUSY_TIMEOUT,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// The time to wait for another writer of the database, before an attempt fails. Default: five seconds.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The longest time for one event, for `prepare`, or for a commit. Default: ten minutes. A network file system can take longer, and
    /// so can the commit of a rebuild of some ten gigabytes. See [calls that do not return](Sink#calls-that-do-not-return).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A connection to a [`Sqlite`] database.
#[derive(Debug)]
pub struct SqliteConnection {
    connection: Connection,
    path: PathBuf,
}

impl Sink for Sqlite {
    type Connection = SqliteConnection;
    type Tx<'t> = rusqlite::Transaction<'t>;
    type Error = rusqlite::Error;

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn connect(&self) -> rusqlite::Result<SqliteConnection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(self.busy_timeout)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS eventfold_progress (projection TEXT PRIMARY KEY, progress TEXT NOT NULL) WITHOUT ROWID",
        )?;
        Ok(SqliteConnection {
            connection,
            path: self.path.clone(),
        })
    }

    fn transact(
        connection: &mut SqliteConnection,
        projection: &str,
        work: &mut dyn FnMut(&mut rusqlite::Transaction<'_>, Option<&str>) -> Option<String>,
    ) -> rusqlite::Result<()> {
        // SQLite goes on writing to a removed file, which nobody reads any more.
        if !connection.path.exists() {
            let error = ffi::Error {
                code: ErrorCode::CannotOpen,
                extended_code: ffi::SQLITE_CANTOPEN,
            };
            let text = format!("{} was removed", connection.path.display());
            return Err(rusqlite::Error::SqliteFailure(error, Some(text)));
        }
        let connection = &mut connection.connection;
        // Immediate: a transaction that has read cannot begin to write if another connection has written meanwhile.
        let mut tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let progress: Option<String> = tx
            .prepare_cached("SELECT progress FROM eventfold_progress WHERE projection = ?1")?
            .query_row([projection], |row| row.get(0))
            .optional()?;
        match work(&mut tx, progress.as_deref()) {
            None => tx.rollback(),
            Some(next) => {
                tx.prepare_cached("INSERT OR REPLACE INTO eventfold_progress VALUES (?1, ?2)")?
                    .execute([projection, &next])?;
                tx.commit()
            }
        }
    }

    fn mark(tx: &mut rusqlite::Transaction<'_>) -> rusqlite::Result<bool> {
        // The first time there is none, which is an error without consequences.
        let _ = tx.execute_batch("RELEASE eventfold");
        tx.execute_batch("SAVEPOINT eventfold")?;
        Ok(true)
    }

    fn undo(tx: &mut rusqlite::Transaction<'_>) -> rusqlite::Result<bool> {
        tx.execute_batch("ROLLBACK TO eventfold")?;
        Ok(true)
    }

    fn fault(error: &rusqlite::Error) -> SinkFault {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                SinkFault::Event
            }
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed,
            ) => SinkFault::Database,
            _ => SinkFault::Unknown,
        }
    }
}
