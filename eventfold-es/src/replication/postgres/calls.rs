//! Appends and reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::{Config, Error, Statement};

use super::super::{AppendError, Entry, LogError};
use super::session::{Connect, Purpose, Session, text};
use super::table;

/// The entry before it has to exist, so that a server with an older copy gets no gap. The primary key is the fence.
const APPEND: &str =
    "INSERT INTO eventfold_log (log, seq, body) SELECT $1::text, $2::bigint, $3::text
    WHERE $2 = 1 OR EXISTS (SELECT FROM eventfold_log WHERE log = $1 AND seq = $2 - 1)";
/// The sum needs no body: the length of a large one is beside it.
const READ: &str = "
    SELECT seq, body FROM (
        SELECT seq, body, octet_length(body) AS own, sum(octet_length(body)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS total
        FROM (SELECT seq, body FROM eventfold_log WHERE log = $1::text AND seq >= $2::bigint ORDER BY seq LIMIT $4::bigint) AS page
    ) AS summed
    WHERE total <= $3::bigint OR total = own ORDER BY seq";

const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const MOST_ROWS: u64 = 50_000;
/// The sessions of a purpose that stay connected.
const IDLE: usize = 2;

const UNIQUE_VIOLATION: &str = "23505";
/// Values, constraints and limits of the server. [Codes](https://www.postgresql.org/docs/current/errcodes-appendix.html)
const REFUSED: [&str; 3] = ["22", "23", "54"];
/// The server does not know whether a transaction is complete.
const UNKNOWN: [&str; 2] = ["40003", "08007"];

/// The connections of a log, and the calls on them.
pub(super) struct Calls {
    pub(super) config: Config,
    pub(super) name: String,
    pub(super) connect: Arc<Connect>,
    pub(super) last: watch::Sender<u64>,
    appends: Pool,
    reads: Pool,
    /// The mean number of bytes of the entries of the last page.
    mean: AtomicU64,
}

/// A session with its statement.
struct Prepared {
    session: Session,
    statement: Statement,
}

struct Pool {
    purpose: Purpose,
    statement: &'static str,
    idle: Mutex<Vec<Prepared>>,
}

impl Pool {
    fn new(purpose: Purpose, statement: &'static str) -> Self {
        Self {
            purpose,
            statement,
            idle: Mutex::default(),
        }
    }

    fn take(&self) -> Option<Prepared> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|prepared| !prepared.session.client.is_closed());
        idle.pop()
    }

    fn put_back(&self, prepared: Prepared) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(prepared);
        }
    }
}

impl Calls {
    pub(super) fn new(
        config: Config,
        name: String,
        connect: Arc<Connect>,
        last: watch::Sender<u64>,
    ) -> Self {
        Self {
            config,
            name,
            connect,
            last,
            appends: Pool::new(Purpose::Append, APPEND),
            reads: Pool::new(Purpose::Read, READ),
            mean: AtomicU64::new(1_000),
        }
    }

    /// A session that waits for its statement. Nothing of the call has been sent.
    async fn session(&self, pool: &Pool) -> Result<Prepared, LogError> {
        if let Some(prepared) = pool.take() {
            return Ok(prepared);
        }
        let (session, _) = Session::connect(&*self.connect, &self.config, pool.purpose).await?;
        let statement = timeout(APPEND_TIMEOUT, session.client.prepare(pool.statement)).await;
        match statement {
            Ok(Ok(statement)) => Ok(Prepared { session, statement }),
            Ok(Err(error)) => Err(LogError::Unavailable(text(&error))),
            Err(_) => Err(LogError::Unavailable(
                "the server did not prepare a statement in 5 s".to_owned(),
            )),
        }
    }

    pub(super) async fn open(&self) -> Result<(), LogError> {
        // The settings of a session that appends: all checks are those of a node.
        let (session, _) = Session::connect(&*self.connect, &self.config, Purpose::Append).await?;
        let prepared = timeout(READ_TIMEOUT, table::prepare(&session.client)).await;
        prepared.unwrap_or_else(|_| {
            Err(LogError::Unavailable(
                "the server did not answer in 10 s about the table `eventfold_log`".to_owned(),
            ))
        })?;
        drop(session);
        let append = self.session(&self.appends).await?;
        self.appends.put_back(append);
        let last = self.last_number().await?;
        self.last.send_if_modified(|known| {
            let is_later = last > *known;
            *known = last.max(*known);
            is_later
        });
        Ok(())
    }

    pub(super) async fn append(&self, number: i64, body: Arc<str>) -> Result<(), AppendError> {
        let appends = self
            .session(&self.appends)
            .await
            .map_err(|error| AppendError::Unavailable(error.to_string()))?;
        let Prepared { session, statement } = &appends;
        session.take_warning();
        let body: &str = &body;
        let executed = timeout(
            APPEND_TIMEOUT,
            session
                .client
                .execute(statement, &[&self.name, &number, &body]),
        )
        .await;
        let stored = match executed {
            // The server goes on: the entry may still come.
            Err(_) => {
                return Err(AppendError::Unknown(
                    "the server did not answer in 5 s".to_owned(),
                ));
            }
            Ok(Err(error)) => return self.failed(appends, &error),
            Ok(Ok(stored)) => stored,
        };
        if session.take_warning() {
            return Err(AppendError::Unknown(
                "the wait for a standby was cancelled".to_owned(),
            ));
        }
        self.appends.put_back(appends);
        if stored == 0 {
            return Err(AppendError::Fenced);
        }
        let number = number.unsigned_abs();
        self.last.send_if_modified(|last| {
            let is_later = *last < number;
            *last = number.max(*last);
            is_later
        });
        Ok(())
    }

    fn failed(&self, appends: Prepared, error: &Error) -> Result<(), AppendError> {
        // Without an answer of the server, the statement may be under way.
        let Some(answer) = error.as_db_error() else {
            return Err(AppendError::Unknown(text(error)));
        };
        let failure = failure(answer, text(error));
        if !matches!(failure, AppendError::Unknown(_)) {
            self.appends.put_back(appends);
        }
        Err(failure)
    }

    pub(super) async fn read(&self, from: i64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        let mean = self.mean.load(Ordering::Relaxed).max(1);
        let rows = (max_bytes as u64 / mean)
            .saturating_add(1)
            .min(MOST_ROWS)
            .cast_signed();
        let rows = self.rows(from, bytes, rows).await?;
        let mut entries = Vec::with_capacity(rows.len());
        let mut total = 0;
        for (row, number) in rows.iter().zip(from..) {
            let found: i64 = row.try_get(0).map_err(unreadable)?;
            if found != number {
                return Err(LogError::Unusable(format!(
                    "entry {number} is missing in the table `eventfold_log` for the log `{}`, and entry {found} is there: restore the table from a \
                     whole copy",
                    self.name
                )));
            }
            let body: &str = row.try_get(1).map_err(unreadable)?;
            total += body.len() as u64;
            entries.push(Entry {
                number: number.unsigned_abs(),
                text: body.into(),
            });
        }
        if let Some(mean) = total.checked_div(entries.len() as u64) {
            self.mean.store(mean, Ordering::Relaxed);
        }
        Ok(entries)
    }

    async fn rows(
        &self,
        from: i64,
        bytes: i64,
        rows: i64,
    ) -> Result<Vec<tokio_postgres::Row>, LogError> {
        let reads = self.session(&self.reads).await?;
        let Prepared { session, statement } = &reads;
        let queried = timeout(
            READ_TIMEOUT,
            session
                .client
                .query(statement, &[&self.name, &from, &bytes, &rows]),
        )
        .await;
        match queried {
            Err(_) => Err(LogError::Unavailable(
                "the server did not answer in 10 s".to_owned(),
            )),
            Ok(Err(error)) => Err(LogError::Unavailable(text(&error))),
            Ok(Ok(rows)) => {
                self.reads.put_back(reads);
                Ok(rows)
            }
        }
    }

    /// The number of the last entry.
    async fn last_number(&self) -> Result<u64, LogError> {
        let reads = self.session(&self.reads).await?;
        let last = timeout(READ_TIMEOUT, last_number(&reads.session.client, &self.name)).await;
        match last {
            Err(_) => Err(LogError::Unavailable(
                "the server did not answer in 10 s".to_owned(),
            )),
            Ok(Err(error)) => Err(LogError::Unavailable(text(&error))),
            Ok(Ok(last)) => {
                self.reads.put_back(reads);
                Ok(last)
            }
        }
    }
}

const LAST: &str = "SELECT seq FROM eventfold_log WHERE log = $1 ORDER BY seq DESC LIMIT 1";

pub(super) async fn last_number(client: &tokio_postgres::Client, name: &str) -> Result<u64, Error> {
    let row = client
        .query_typed_opt(LAST, &[(&name, tokio_postgres::types::Type::TEXT)])
        .await?;
    let last: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(last.map_or(0, i64::unsigned_abs))
}

fn unreadable(error: Error) -> LogError {
    LogError::Unavailable(text(&error))
}

/// The outcome of an append that the server has answered with an error.
fn failure(answer: &DbError, text: String) -> AppendError {
    let code = answer.code().code();
    // An error aborts the statement. The end of a session may come after the commit.
    if answer.parsed_severity() != Some(Severity::Error) || UNKNOWN.contains(&code) {
        return AppendError::Unknown(text);
    }
    match code {
        UNIQUE_VIOLATION => AppendError::Fenced,
        _ if REFUSED.iter().any(|class| code.starts_with(class)) => AppendError::Refused(text),
        _ => AppendError::Unavailable(text),
    }
}
