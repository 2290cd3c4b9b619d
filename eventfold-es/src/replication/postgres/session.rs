//! Connections, with checked servers and the settings of a session.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, Error, Notification, Socket};

use super::super::LogError;

const APPLICATION_NAME: &str = "eventfold-es";
/// For each host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For all hosts.
const LONGEST_CONNECT: Duration = Duration::from_secs(20);
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(10);
const OLDEST_VERSION: i32 = 120_000;

/// What the role or the database may have set to another value. An index is the right way to read few rows in their order,
/// also with the poor statistics of a young table.
const SETTINGS: &str = "
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET idle_in_transaction_session_timeout = 0;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SET jit = off;";
/// `NULL` is a setting that this version does not have.
const SERVER: &str = "
    SELECT current_setting('server_version_num')::int4, pg_is_in_recovery(), current_setting('fsync'),
        current_setting('full_page_writes'), current_setting('server_encoding'), current_setting('synchronous_commit'),
        current_setting('idle_session_timeout', true), current_setting('transaction_timeout', true)";

/// The purpose of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Append,
    Read,
    Watch,
}

/// A connection to a server that has been checked.
pub(super) struct Session {
    pub(super) client: Client,
    has_warned: Arc<AtomicBool>,
    driver: AbortHandle,
}

/// Ends the connection. The server may still be at work: nothing cancels a statement.
impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

type Connecting = Pin<Box<dyn Future<Output = Result<(Client, AbortHandle), Error>> + Send>>;
/// Connects, and starts the task of the connection.
pub(super) type Connect = dyn Fn(Config, Inbox) -> Connecting + Send + Sync;

/// The place of messages that no statement asks for.
#[derive(Clone)]
pub(super) struct Inbox {
    has_warned: Arc<AtomicBool>,
    notifications: mpsc::UnboundedSender<Notification>,
}

impl Inbox {
    fn take(&self, message: AsyncMessage) {
        match message {
            AsyncMessage::Notice(notice) if is_warning(&notice) => {
                self.has_warned.store(true, Ordering::SeqCst)
            }
            // Without a receiver, this session does not listen.
            AsyncMessage::Notification(notification) => drop(self.notifications.send(notification)),
            _ => {}
        }
    }
}

/// A commit whose wait for a standby is cancelled is answered as any other, after a warning. Functions of the
/// user warn for other reasons.
fn is_warning(notice: &DbError) -> bool {
    notice.parsed_severity() == Some(Severity::Warning) && notice.file() != Some("pl_exec.c")
}

pub(super) fn connector<T>(tls: T) -> Arc<Connect>
where
    T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
    T::TlsConnect: Send,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    Arc::new(move |config, inbox| {
        let tls = tls.clone();
        Box::pin(async move {
            let (client, mut connection) = config.connect(tls).await?;
            let driver = tokio::spawn(async move {
                // An error is that of the statement under way, too.
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    inbox.take(message);
                }
            });
            Ok((client, driver.abort_handle()))
        })
    })
}

pub(super) fn parse(url: &str) -> Result<Config, LogError> {
    url.parse().map_err(|error: Error| {
        // An error of the parser names an unknown option. In a URL with an unescaped password, this may be a part of the password.
        let is_url = url.starts_with("postgresql://") || url.starts_with("postgres://");
        let reason = match is_url && url.matches('@').count() <= 1 {
            true => text(&error),
            false => "it is not a URL, or its password has unescaped characters".to_owned(),
        };
        LogError::Unusable(format!(
            "the URL of the PostgreSQL server is wrong: {reason}. Write `postgresql://user:password@host:5432/database`"
        ))
    })
}

pub(super) fn with_defaults(mut config: Config) -> Config {
    if config.get_application_name().is_none() {
        config.application_name(APPLICATION_NAME);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if config.get_keepalives_interval().is_none() {
        config
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE);
    }
    // A single host is asked itself, for a better message.
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    if hosts > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    config
}

/// The server, for messages.
pub(super) fn place(config: &Config) -> String {
    let hosts: Vec<String> = match config.get_hosts() {
        [] => config
            .get_hostaddrs()
            .iter()
            .map(ToString::to_string)
            .collect(),
        hosts => hosts
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            })
            .collect(),
    };
    let ports = config.get_ports();
    let with_port = |(index, host): (usize, &String)| match ports.get(index).or(ports.first()) {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    let hosts: Vec<_> = hosts.iter().enumerate().map(with_port).collect();
    let database = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or("default");
    format!(
        "the PostgreSQL database `{database}` at {}",
        hosts.join(", ")
    )
}

impl Session {
    /// Connects, checks the server, and sets up the session.
    pub(super) async fn connect(
        connect: &Connect,
        config: &Config,
        purpose: Purpose,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Notification>), LogError> {
        let (notifications, received) = mpsc::unbounded_channel();
        let inbox = Inbox {
            has_warned: Arc::default(),
            notifications,
        };
        let hosts = config
            .get_hosts()
            .len()
            .max(config.get_hostaddrs().len())
            .max(1);
        let limit = CONNECT_TIMEOUT.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX));
        let limit = limit.min(LONGEST_CONNECT);
        let setting_up = async {
            let (client, driver) = connect(config.clone(), inbox.clone()).await?;
            let session = Self {
                client,
                has_warned: Arc::clone(&inbox.has_warned),
                driver,
            };
            let problem = session.set_up(purpose).await?;
            Ok((session, problem))
        };
        let place = place(config);
        match tokio::time::timeout(limit, setting_up).await {
            Ok(Ok((session, None))) => Ok((session, received)),
            Ok(Ok((_, Some(problem)))) => Err(LogError::Unusable(format!("{place}: {problem}"))),
            Ok(Err(error)) => Err(not_connected(&place, &error)),
            Err(_) => Err(LogError::Unavailable(format!(
                "{place} did not answer in {} s",
                limit.as_secs()
            ))),
        }
    }

    /// Returns what is wrong with the server.
    async fn set_up(&self, purpose: Purpose) -> Result<Option<String>, Error> {
        let row = self.client.query_typed_one(SERVER, &[]).await?;
        let version: i32 = row.try_get(0)?;
        if let Some(problem) = too_old(version) {
            return Ok(Some(problem));
        }
        if row.try_get(1)? {
            let problem = "the server is a standby, which takes no entries: connect to the primary, or promote this server";
            return Ok(Some(problem.to_owned()));
        }
        for (column, setting) in [(2, "fsync"), (3, "full_page_writes")] {
            if row.try_get::<_, &str>(column)? != "on" {
                let problem = format!(
                    "the server has `{setting} = off`, so a power loss destroys acknowledged entries: run `ALTER SYSTEM SET {setting} = on`, \
                     and then `SELECT pg_reload_conf()`"
                );
                return Ok(Some(problem));
            }
        }
        let encoding: &str = row.try_get(4)?;
        if encoding != "UTF8" {
            let problem = format!(
                "the encoding of the database is {encoding}: create one with `CREATE DATABASE shop ENCODING 'UTF8' TEMPLATE template0`"
            );
            return Ok(Some(problem));
        }
        let mut settings = SETTINGS.to_owned();
        for (column, setting) in [(6, "idle_session_timeout"), (7, "transaction_timeout")] {
            if row.try_get::<_, Option<&str>>(column)?.is_some() {
                settings.push_str(&format!("SET {setting} = 0;"));
            }
        }
        let is_strongest = row.try_get::<_, &str>(5)? == "remote_apply";
        settings.push_str(match purpose {
            // No time-out of a statement: one that is cancelled while it waits for a standby is in the log. A wait for the entry
            // of another node is before the commit. It ends before the call does, so that no connections pile up.
            Purpose::Append if is_strongest => {
                "SET statement_timeout = 0; SET lock_timeout = '3s';"
            }
            Purpose::Append => {
                "SET statement_timeout = 0; SET lock_timeout = '3s'; SET synchronous_commit = on;"
            }
            Purpose::Read => "SET statement_timeout = '10s'; SET lock_timeout = 0;",
            // A signal has nothing that a disk must keep.
            Purpose::Watch => {
                "SET statement_timeout = '5s'; SET lock_timeout = 0; SET synchronous_commit = off;"
            }
        });
        self.client.batch_execute(&settings).await?;
        Ok(None)
    }

    /// Whether the server has warned since the last call.
    pub(super) fn take_warning(&self) -> bool {
        self.has_warned.swap(false, Ordering::SeqCst)
    }
}

fn too_old(version: i32) -> Option<String> {
    (version < OLDEST_VERSION).then(|| {
        format!(
            "PostgreSQL {} is too old: use version 12 or later",
            version / 10_000
        )
    })
}

fn not_connected(place: &str, error: &Error) -> LogError {
    // The account, the database, its rights. All else may pass.
    let is_of_operator = |code: &str| {
        ["28", "3D", "42"]
            .iter()
            .any(|class| code.starts_with(class))
    };
    let message = format!("no connection to {place}: {}", text(error));
    match error.code() {
        Some(code) if is_of_operator(code.code()) => LogError::Unusable(format!(
            "{message}. Check the user, the password and the database"
        )),
        _ => LogError::Unavailable(message),
    }
}

/// An error in one line.
pub(super) fn text(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        let detail = error.detail().map(|detail| format!(", {detail}"));
        let code = error.code().code();
        return format!(
            "{} (SQLSTATE {code}{})",
            error.message(),
            detail.unwrap_or_default()
        );
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused() {
        assert_eq!(
            too_old(110_022).as_deref(),
            Some("PostgreSQL 11 is too old: use version 12 or later")
        );
        assert_eq!(too_old(120_000), None);
        assert_eq!(too_old(150_012), None);
    }
}
