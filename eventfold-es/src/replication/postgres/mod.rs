//! A replicated log in a table of PostgreSQL.

mod calls;
mod session;
mod table;
mod watcher;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, NoTls, Socket};

use self::calls::Calls;
use self::session::{Connect, connector};
use self::watcher::Outgoing;
use super::{AppendError, CommitLog, Entry, LogError};

const MAX_ENTRY_BYTES: usize = 16 * 1024 * 1024;
/// The messages that wait for the connection, and those that a receiver may leave unread.
const QUEUE: usize = 1024;
/// The time for the last signals.
const CLOSING: Duration = Duration::from_secs(1);
/// The end of a call that its own time-outs have not ended: the runtime is gone.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// A replicated log in PostgreSQL 12 or later (feature `postgres`).
///
/// The entries are the rows of the table `eventfold_log`, in the first schema of the search path. [`open`](CommitLog::open) creates it if it is
/// missing. Several logs share the table; the nodes of a store name the same log in the same database. The primary key
/// is the fence: of two nodes that append the same number, one succeeds.
///
/// ```sql
/// CREATE TABLE eventfold_log (
///     log text NOT NULL, seq bigint NOT NULL CHECK (seq > 0), body text NOT NULL, PRIMARY KEY (log, seq)
/// );
/// GRANT SELECT, INSERT ON eventfold_log TO shop; -- all that a node needs
/// ```
///
/// # Safety of an entry
///
/// An acknowledged entry is on the disk of the server. With `synchronous_standby_names` on the server it is also on the disk of the
/// standbys. The session has `synchronous_commit = on`, or `remote_apply` if the role has it. `open` refuses a server with `fsync = off` or
/// `full_page_writes = off`, a standby, and a database whose encoding is not UTF-8.
///
/// The failover of a server is the work of its operator. Without a synchronous standby, a failover can lose acknowledged entries; the nodes
/// that have applied them then refuse the log.
///
/// # Connections
///
/// A node has three connections: for appends, for reads, and for notifications. It connects again after an error. A
/// pooler between them has to be in its session mode.
///
/// With several hosts in the URL, the node connects to the first host that accepts writes.
///
/// | limit | value |
/// |---|---|
/// | to connect | 5 s for each host, 20 s for all |
/// | to append | 5 s, then [`AppendError::Unknown`]; 3 s to wait for another append, then [`AppendError::Unavailable`] |
/// | to read | 10 s, then [`LogError::Unavailable`] |
/// | to hear of an entry | at once by `NOTIFY`, else 1 s |
/// | [`max_entry_bytes`](CommitLog::max_entry_bytes) | 16 MiB |
/// | a signal | 7,900 bytes |
///
/// Connections are not encrypted. [`tls`](Self::tls) encrypts them.
///
/// # Examples
///
/// ```no_run
/// use eventfold_es::replication::{CommitLog, PostgresLog};
///
/// let log = PostgresLog::connect("postgresql://shop:secret@db.internal/shop", "shop");
/// log.open()?;
/// assert_eq!(log.max_entry_bytes(), 16 * 1024 * 1024);
/// # Ok::<(), eventfold_es::replication::LogError>(())
/// ```
pub struct PostgresLog {
    address: Address,
    name: String,
    connect: Arc<Connect>,
    last: watch::Sender<u64>,
    signals: broadcast::Sender<String>,
    /// Made by the first `open`.
    opened: OnceLock<Opened>,
}

enum Address {
    Url(String),
    Config(Box<Config>),
}

struct Opened {
    calls: Arc<Calls>,
    outgoing: mpsc::Sender<Outgoing>,
    /// `None` in `drop`.
    runtime: Option<Runtime>,
}

impl PostgresLog {
    /// The log with a name, in the database of a [`Config`].
    #[must_use]
    pub fn new(config: Config, name: impl Into<String>) -> Self {
        Self::at(Address::Config(Box::new(config)), name.into())
    }

    /// The log with a name, in the database at a URL such as `postgresql://user:password@host:5432/database`. [`Config`] lists the
    /// parameters. [`open`](CommitLog::open) reports a wrong URL. No message has the password.
    #[must_use]
    pub fn connect(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self::at(Address::Url(url.into()), name.into())
    }

    fn at(address: Address, name: String) -> Self {
        Self {
            address,
            name,
            connect: connector(NoTls),
            last: watch::Sender::new(0),
            signals: broadcast::Sender::new(QUEUE),
            opened: OnceLock::new(),
        }
    }

    /// Encrypts the connections, with the connector of a crate such as `tokio-postgres-rustls` or `postgres-native-tls`. With `sslmode=require` in
    /// the URL it never connects without encryption; the default, `prefer`, does if the server does not offer it.
    #[must_use]
    pub fn tls<T>(mut self, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::TlsConnect: Send,
        T::Stream: Send + 'static,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.connect = connector(tls);
        self
    }

    fn opened(&self) -> Result<&Opened, String> {
        self.opened
            .get()
            .ok_or_else(|| "the log is not open: call `open` first".to_owned())
    }

    /// The settings of the connections, with our defaults.
    fn config(&self) -> Result<Config, LogError> {
        let config = match &self.address {
            Address::Url(url) => session::parse(url)?,
            Address::Config(config) => (**config).clone(),
        };
        Ok(session::with_defaults(config))
    }

    fn start(&self) -> Result<&Opened, LogError> {
        table::check_name(&self.name)?;
        let config = self.config()?;
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("eventfold-log")
            .enable_all()
            .build()
            .map_err(|error| {
                LogError::Unavailable(format!("no thread for the connections: {error}"))
            })?;
        let calls = Calls::new(
            config,
            self.name.clone(),
            Arc::clone(&self.connect),
            self.last.clone(),
        );
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let opened = Opened {
            calls: Arc::new(calls),
            outgoing,
            runtime: Some(runtime),
        };
        let is_first = self.opened.set(opened).is_ok();
        let opened = self.opened().map_err(LogError::Unavailable)?;
        if let (true, Some(runtime)) = (is_first, &opened.runtime) {
            let signals = self.signals.clone();
            runtime.spawn(watcher::watch(Arc::clone(&opened.calls), signals, queue));
        }
        Ok(opened)
    }
}

impl Opened {
    /// Runs a call on the runtime of the log. The caller may be any thread, also one on which no runtime may block.
    fn run<T, F>(&self, call: impl FnOnce(Arc<Calls>) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let call = call(Arc::clone(&self.calls));
        self.runtime.as_ref()?.spawn(async move {
            // An error means that the caller waits no longer.
            let _ = answer.send(call.await);
        });
        answered.recv_timeout(LONGEST_CALL).ok()
    }
}

impl CommitLog for PostgresLog {
    fn describe(&self) -> String {
        match self.config() {
            Ok(config) => format!("the log `{}` in {}", self.name, session::place(&config)),
            Err(_) => format!("the log `{}` in PostgreSQL", self.name),
        }
    }

    fn open(&self) -> Result<(), LogError> {
        let opened = self.start()?;
        let answer = opened.run(|calls| async move { calls.open().await });
        answer.unwrap_or_else(|| Err(LogError::Unavailable(no_answer())))
    }

    fn max_entry_bytes(&self) -> usize {
        MAX_ENTRY_BYTES
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let bytes = text.len();
        if bytes > MAX_ENTRY_BYTES {
            return Err(AppendError::Refused(format!(
                "it has {bytes} bytes, and {MAX_ENTRY_BYTES} is the maximum"
            )));
        }
        // Larger numbers are not in the log.
        let Some(number) = i64::try_from(after)
            .ok()
            .and_then(|after| after.checked_add(1))
        else {
            return Err(AppendError::Fenced);
        };
        let opened = self.opened().map_err(AppendError::Unavailable)?;
        let answer = opened.run(|calls| async move { calls.append(number, text).await });
        answer.unwrap_or_else(|| Err(AppendError::Unknown(no_answer())))?;
        // A full queue delays the other nodes until they poll.
        let _ = opened.outgoing.try_send(Outgoing::Entry(number));
        Ok(())
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let Ok(from) = i64::try_from(from) else {
            return Ok(Vec::new());
        };
        let opened = self.opened().map_err(LogError::Unavailable)?;
        let answer = opened.run(|calls| async move { calls.read(from.max(1), max_bytes).await });
        answer.unwrap_or_else(|| Err(LogError::Unavailable(no_answer())))
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    fn signal(&self, message: String) {
        if let Ok(opened) = self.opened() {
            // A signal may be lost.
            let _ = opened.outgoing.try_send(Outgoing::Signal(message));
        }
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        self.signals.subscribe()
    }

    fn close(&self) {
        let Some(Opened {
            outgoing,
            runtime: Some(runtime),
            ..
        }) = self.opened.get()
        else {
            return;
        };
        let (sent, is_sent) = std::sync::mpsc::channel();
        let outgoing = outgoing.clone();
        runtime.spawn(async move { outgoing.send(Outgoing::Closing(sent)).await });
        // Without a connection, nothing is sent.
        let _ = is_sent.recv_timeout(CLOSING);
    }
}

fn no_answer() -> String {
    "the thread of the connections has not answered".to_owned()
}

/// A runtime that is dropped in async code panics.
impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Without the password, and without the text of the URL.
impl fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresLog")
            .field(&self.describe())
            .finish()
    }
}
