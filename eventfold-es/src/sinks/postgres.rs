use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postgres::tls::{MakeTlsConnect, TlsConnect};
use postgres::types::Type;
use postgres::{Client, Config, IsolationLevel, NoTls, Socket, Transaction};

use crate::projection::{SINK_TIMEOUT, Sink, SinkFault};

const APPLICATION_NAME: &str = "eventfold-es";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);
/// The value of `Config::get_keepalives_idle` if the user has not set it.
const UNSET_KEEPALIVE_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// Settings of the session, unless `options` of the URL has them. With those of TCP the server notices that this program's
/// machine has died; until then it keeps the lock of an open transaction.
const SESSION: [(&str, &str); 4] = [
    ("statement_timeout", "60s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS eventfold_progress (projection text PRIMARY KEY, progress text NOT NULL)";
const EXISTS: &str = "SELECT 1 WHERE to_regclass('eventfold_progress') IS NOT NULL";
/// The lock lets one program at a time advance the projection.
const READ: &str = "SELECT progress FROM eventfold_progress WHERE projection = $1 FOR UPDATE";
/// A missing row cannot be locked. Of two programs that begin at once, the second waits here for the row of the first.
const BEGIN: &str = "INSERT INTO eventfold_progress VALUES ($1, '')
    ON CONFLICT (projection) DO UPDATE SET progress = eventfold_progress.progress RETURNING progress";
const SAVE: &str = "INSERT INTO eventfold_progress VALUES ($1, $2)
    ON CONFLICT (projection) DO UPDATE SET progress = excluded.progress";

/// [Codes of errors](https://www.postgresql.org/docs/current/errcodes-appendix.html), or their classes: the connection,
/// deadlocks, resources, operators and timeouts, the system, a lock, a server that only reads.
const OF_DATABASE: [&str; 8] = ["08", "40", "53", "57", "58", "55P03", "25006", "25P03"];
/// Values, constraints, exceptions of PL/pgSQL, and statements after an ignored error.
const OF_EVENT: [&str; 5] = ["22", "23", "44", "P0", "25P02"];

/// A PostgreSQL database, as the sink of projections (feature `postgres`).
///
/// Each projection has its own connection, and connects again after an error. Its handlers receive a
/// [`postgres::Transaction`], in the isolation level `READ COMMITTED`.
///
/// The table `eventfold_progress` has the columns `projection` and `progress`, with one line of JSON for each projection. It
/// is created in the first schema of the search path if it is missing. A projection locks its row during a transaction.
/// Several programs may therefore run one projection; each event is projected once.
///
/// # Transactions
///
/// A handler does not end the transaction. After a failed statement, PostgreSQL refuses all further statements of the
/// transaction, so a handler returns the error. To ignore an error, run the statement in a nested transaction:
///
/// ```
/// # use eventfold_es::postgres::{Error, Transaction};
/// fn tag(tx: &mut Transaction<'_>, tag: &str) -> Result<(), Error> {
///     let mut nested = tx.transaction()?;
///     match nested.execute("INSERT INTO tags VALUES ($1)", &[&tag]) {
///         Ok(_) => nested.commit(),
///         Err(_) => nested.rollback(),
///     }
/// }
/// ```
///
/// A constraint that is deferred to the commit also falls under `on_failure`, except in a rebuild, which then fails as a whole.
///
/// A rebuild is one transaction, which begins with `prepare`. After a `DROP TABLE` or a `TRUNCATE` in it, readers of the
/// table wait until the rebuild is complete. After a `DELETE` they see the old rows.
///
/// # Timeouts
///
/// The URL, or the [`Config`], sets another value:
///
/// | limit | default | set by |
/// |---|---|---|
/// | to connect to an address | 10 s | `connect_timeout=5`, in seconds |
/// | for one statement, waits for locks included | 60 s, or the value of the role or the database | `options=-c%20statement_timeout%3D5min`; `0` is no limit |
/// | until a lost network ends a connection | 60 s | `tcp_user_timeout`, `keepalives_idle`, `keepalives_interval`, in seconds; `keepalives_retries` |
/// | until the server ends the transaction of a lost machine | 60 s | `options=-c%20tcp_keepalives_idle%3D10`, `tcp_keepalives_interval`, `tcp_keepalives_count` |
/// | until the projection leaves a silent server | 2 min | [`timeout`](Self::timeout) |
///
/// After each of them, the projection tries again under every `on_failure`. The last limit is for a server that is
/// suspended while its network still answers. See [calls that do not return](Sink#calls-that-do-not-return).
///
/// # Encryption
///
/// Connections are not encrypted. [`tls`](Self::tls) encrypts them.
///
/// # Examples
///
/// ```no_run
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
/// use eventfold_es::Postgres;
/// use eventfold_es::postgres::{Client, Error, NoTls, Transaction};
///
/// const URL: &str = "postgresql://shop:secret@localhost/reports";
///
/// /// The number of orders for each country.
/// #[projection(subscribes = [Order], sink = Postgres)]
/// pub struct OrdersByCountry;
///
/// impl Prepare for OrdersByCountry {
///     fn prepare(tx: &mut Transaction<'_>) -> Result<(), Error> {
///         tx.batch_execute(
///             "CREATE TABLE IF NOT EXISTS orders_by_country (country text PRIMARY KEY, orders bigint NOT NULL);
///              DELETE FROM orders_by_country;",
///         )
///     }
/// }
///
/// impl ProjectInto<Order> for OrdersByCountry {
///     fn project(event: &OrderEvent, _cx: &EventContext<'_>, tx: &mut Transaction<'_>) -> Result<(), Error> {
///         let OrderEvent::Placed { country } = event;
///         let upsert = "INSERT INTO orders_by_country AS old VALUES ($1, 1)
///                       ON CONFLICT (country) DO UPDATE SET orders = old.orders + 1";
///         tx.execute(upsert, &[country])?;
///         Ok(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let store = AggregateStore::builder(directory.path())
///     .projection::<OrdersByCountry>()
///     .sink(Postgres::url(URL))
///     .open()
///     .await?;
/// let placed = store.send("ord-1", OrderCommand::Place { country: "CH".into() }, ()).await?;
/// store.wait_for::<OrdersByCountry>(placed.position, Duration::from_secs(5)).await?;
///
/// # tokio::task::spawn_blocking(|| -> Result<(), Error> {
/// // On a thread for blocking work:
/// let mut report = Client::connect(URL, NoTls)?;
/// let orders: i64 = report.query_one("SELECT orders FROM orders_by_country", &[])?.get(0);
/// assert_eq!(orders, 1);
/// # Ok(())
/// # }).await??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Postgres {
    address: Address,
    connect: Arc<Connect>,
    timeout: Duration,
}

type Connect = dyn Fn(&Config) -> Result<Client, postgres::Error> + Send + Sync;

#[derive(Clone)]
enum Address {
    Url(String),
    Config(Box<Config>),
}

impl Postgres {
    /// The database at a URL such as `postgresql://user:password@host:5432/database?connect_timeout=5`, or at a
    /// connection string such as `host=/run/postgresql user=shop dbname=reports`. [`Config`] lists the parameters.
    ///
    /// The URL is parsed at each connect. The health of the store reports a wrong URL as the failure of the projection. No
    /// message has the password.
    #[must_use]
    pub fn url(url: impl Into<String>) -> Self {
        Self::at(Address::Url(url.into()))
    }

    /// The database of a [`Config`], for a program that has the parts of a URL.
    #[must_use]
    pub fn config(config: Config) -> Self {
        Self::at(Address::Config(Box::new(config)))
    }

    fn at(address: Address) -> Self {
        Self {
            address,
            connect: Arc::new(|config| config.connect(NoTls)),
            timeout: SINK_TIMEOUT,
        }
    }

    /// The longest time without an answer of the server: to connect, for one event, for `prepare`, or for a commit. Default: two
    /// minutes. Choose a longer time than that of `statement_timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Encrypts the connections, with the connector of a crate such as `tokio-postgres-rustls` or `postgres-native-tls`. With `sslmode=require` in
    /// the URL it never connects without encryption; the default, `prefer`, does if the server does not offer it.
    #[must_use]
    pub fn tls<T>(mut self, connector: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::TlsConnect: Send,
        T::Stream: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.connect = Arc::new(move |config| config.connect(connector.clone()));
        self
    }
}

/// Without the password, and without the text of the URL.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Postgres");
        match self.address.config() {
            Ok(config) => debug
                .field("user", &config.get_user())
                .field("hosts", &config.get_hosts())
                .field("ports", &config.get_ports())
                .field("database", &config.get_dbname()),
            Err(_) => debug.field("url", &"invalid"),
        };
        debug.finish_non_exhaustive()
    }
}

impl Address {
    /// The configuration with the defaults of this sink.
    fn config(&self) -> Result<Config, postgres::Error> {
        let mut config = match self {
            Self::Url(url) => url.parse().or_else(|error| without_secrets(url, error))?,
            Self::Config(config) => (**config).clone(),
        };
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION_NAME);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if config.get_keepalives_idle() == UNSET_KEEPALIVE_IDLE {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(KEEPALIVE_INTERVAL);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        Ok(config)
    }
}

/// An error of the parser names an unknown option. In a URL with an unescaped password, this may be a part of the password.
fn without_secrets(url: &str, error: postgres::Error) -> Result<Config, postgres::Error> {
    let is_url = url.starts_with("postgresql://") || url.starts_with("postgres://");
    if is_url && url.matches('@').count() <= 1 {
        return Err(error);
    }
    // An error of this type with a text of our own is that of a string which does not parse.
    "postgresql://?of a text that is not a URL, or whose password has unescaped characters=".parse()
}

/// A connection to a [`Postgres`] database.
pub struct PostgresConnection(Client);

impl fmt::Debug for PostgresConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConnection").finish_non_exhaustive()
    }
}

impl Sink for Postgres {
    type Connection = PostgresConnection;
    type Tx<'t> = Transaction<'t>;
    type Error = postgres::Error;

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn connect(&self) -> Result<PostgresConnection, postgres::Error> {
        let config = self.address.config()?;
        let mut client = (self.connect)(&config)?;
        set_up(&mut client, config.get_options().unwrap_or_default())?;
        create_table(&mut client)?;
        Ok(PostgresConnection(client))
    }

    fn transact(
        PostgresConnection(client): &mut PostgresConnection,
        projection: &str,
        work: &mut dyn FnMut(&mut Transaction<'_>, Option<&str>) -> Option<String>,
    ) -> Result<(), postgres::Error> {
        // Read committed: a program that has waited for the lock reads the row that the other program has written.
        let mut tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .read_only(false)
            .start()?;
        let name = (&projection as _, Type::TEXT);
        let mut row = tx.query_typed_opt(READ, std::slice::from_ref(&name))?;
        if row.is_none() {
            row = tx.query_typed_opt(BEGIN, std::slice::from_ref(&name))?;
        }
        let progress: Option<&str> = row.as_ref().map(|row| row.try_get(0)).transpose()?;
        match work(&mut tx, progress.filter(|progress| !progress.is_empty())) {
            None => tx.rollback(),
            Some(next) => {
                tx.execute_typed(SAVE, &[name, (&next, Type::TEXT)])?;
                tx.commit()
            }
        }
    }

    fn fault(error: &postgres::Error) -> SinkFault {
        let Some(code) = error.code() else {
            let is_io = |error: &(dyn Error + 'static)| error.is::<io::Error>();
            return match error.is_closed() || error.source().is_some_and(is_io) {
                true => SinkFault::Database,
                false => SinkFault::Unknown,
            };
        };
        let is_one_of =
            |classes: &[&str]| classes.iter().any(|class| code.code().starts_with(class));
        match is_one_of(&OF_DATABASE) {
            true => SinkFault::Database,
            false if is_one_of(&OF_EVENT) => SinkFault::Event,
            false => SinkFault::Unknown,
        }
    }
}

fn set_up(client: &mut Client, options: &str) -> Result<(), postgres::Error> {
    for (setting, value) in SESSION {
        if options.contains(setting) {
            continue;
        }
        let is_limited = "SELECT 1 WHERE current_setting('statement_timeout') <> '0'";
        if setting == "statement_timeout" && client.query_typed_opt(is_limited, &[])?.is_some() {
            continue;
        }
        client.batch_execute(&format!("SET {setting} = '{value}'"))?;
    }
    Ok(())
}

/// Creates the table of progress. Programs that may not create tables find it there.
fn create_table(client: &mut Client) -> Result<(), postgres::Error> {
    let exists = |client: &mut Client| Ok(client.query_typed_opt(EXISTS, &[])?.is_some());
    if exists(client)? {
        return Ok(());
    }
    match client.batch_execute(CREATE) {
        // `IF NOT EXISTS` does not see a table that another connection is creating, and waits for it with an error.
        Err(_) if exists(client)? => Ok(()),
        created => created,
    }
}
