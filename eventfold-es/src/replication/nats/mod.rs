//! The log in a stream of NATS JetStream.

use std::fmt;
use std::future::Future;
use std::sync::mpsc as blocking;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_nats::Client;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{broadcast, mpsc, watch};

use super::commit_log::{AppendError, CommitLog, Entry, LogError};
use super::messenger::Messenger;
use follow::Telling;
use link::{Complaint, Link};
use messenger::NatsMessenger;
use names::Names;

mod append;
mod body;
mod follow;
mod link;
mod messenger;
mod names;
mod open;
mod read;
mod settings;
mod told;

/// The signals that a slow receiver may leave waiting.
const SIGNALS: usize = 1_024;
/// The largest entry that the files of a stream can hold, with room around it.
const STREAM_LIMIT: usize = 32 * 1024 * 1024 - 64 * 1024;
/// The time that a call may take beyond its own limits, on a machine without time.
const GRACE: Duration = Duration::from_secs(5);
/// The time for the last signals.
const CLOSING: Duration = Duration::from_secs(1);

/// The log of a store in a stream of NATS JetStream (feature `nats`).
///
/// One stream holds one log, and entry `n` of the log is message `n` of the stream. The store creates the stream when it opens
/// the log for the first time, and checks it each time.
///
/// # Servers
///
/// - nats-server 2.12 or newer, with JetStream. Three servers or five, as one cluster.
/// - `sync_interval: always` in the section `jetstream` of each server. **Without it, a server acknowledges entries that are not on its
///   disk**, and a power failure of the whole cluster loses them. A client cannot see this setting. Where the system account
///   exports `$SYS.REQ.SERVER.PING.JSZ` to the account of the store, the log checks the setting of each server.
/// - The default limit of a message, `max_payload`, is 1 MiB, which is also the limit of a commit. Set it up to 8 MiB for larger commits.
///
/// # Permissions
///
/// For a log with the name `shop`, a user may publish to `$JS.API.INFO`, `$JS.API.STREAM.INFO.shop`, `$JS.API.STREAM.CREATE.shop`,
/// `$JS.API.STREAM.MSG.GET.shop`, `$JS.API.CONSUMER.CREATE.shop.>`, `$JS.API.CONSUMER.MSG.NEXT.shop.>` and
/// `eventfold.shop.>`, and subscribe to `eventfold.shop.node.*`, `eventfold.shop.ask.*` and `_INBOX.>`. No other user may publish to
/// `eventfold.shop.>`.
///
/// # Failures
///
/// An entry is acknowledged by a majority of the servers. With three of them, one may fail: the others elect a new leader of the
/// stream in 4 to 9 seconds, and the log takes no entries in the meantime. Without a majority, nothing is appended.
///
/// # Examples
///
/// ```no_run
/// use eventfold_es::replication::{CommitLog as _, NatsLog};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = NatsLog::connect("nats://10.0.0.1:4222,nats://10.0.0.2:4222,nats://10.0.0.3:4222", "shop");
/// log.open()?;
/// for entry in log.read(1, 1024 * 1024)? {
///     println!("{}: {}", entry.number, entry.text);
/// }
/// # Ok(())
/// # }
/// ```
pub struct NatsLog {
    servers: Servers,
    names: Arc<Names>,
    replicas: usize,
    session: RwLock<Option<Session>>,
    progress: watch::Sender<u64>,
    signals: broadcast::Sender<String>,
}

enum Servers {
    Addresses(String),
    Client(Client),
}

/// An open log.
struct Session {
    /// The thread of the log. A client of [`NatsLog::new`] runs elsewhere.
    runtime: Option<Runtime>,
    link: Arc<Link>,
    outbox: mpsc::Sender<Telling>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // A runtime must not be dropped inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl NatsLog {
    /// The log `name` on the servers with these addresses, such as `nats://10.0.0.1:4222,nats://10.0.0.2:4222`. One server that answers is
    /// enough: it names the others. The connection is made by [`open`](CommitLog::open).
    ///
    /// The first address with a user and a password, `nats://user:password@…`, has them for all servers. A user alone is a token. For
    /// other credentials, and for certificates, connect a client and use [`new`](Self::new).
    ///
    /// The name is the name of the stream: 1 to 128 letters, digits, `-` and `_`. Each store has a log of its own.
    #[must_use]
    pub fn connect(servers: impl Into<String>, name: impl AsRef<str>) -> Self {
        Self::of(Servers::Addresses(servers.into()), name.as_ref())
    }

    /// The log `name` over a client that is connected, with its credentials and its TLS. The runtime of the client must run as long as
    /// the log is used.
    ///
    /// Give the client a `ping_interval` of one second, so that it leaves a server that hangs. It must not have `no_echo`.
    #[must_use]
    pub fn new(client: Client, name: impl AsRef<str>) -> Self {
        Self::of(Servers::Client(client), name.as_ref())
    }

    /// The number of servers that hold each entry: 3 by default, 5 at most. An existing stream may have more.
    ///
    /// With 1, the log ends with the disk of one server. With 2, it stops if one of them stops.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas.clamp(1, 5);
        self
    }

    fn of(servers: Servers, name: &str) -> Self {
        Self {
            servers,
            names: Arc::new(Names::new(name)),
            replicas: 3,
            session: RwLock::new(None),
            progress: watch::Sender::new(0),
            signals: broadcast::Sender::new(SIGNALS),
        }
    }

    /// Runs something on the thread of the log, and waits for it on this one. It ends in a bounded time.
    fn wait<T: Send + 'static>(
        runtime: &Handle,
        limit: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = blocking::sync_channel(1);
        let task = runtime.spawn(async move {
            let _ = sender.send(work.await);
        });
        let result = receiver.recv_timeout(limit + GRACE).ok();
        if result.is_none() {
            task.abort();
        }
        result
    }

    /// The open log.
    fn link(&self) -> Option<(Arc<Link>, Handle, mpsc::Sender<Telling>)> {
        let session = self.session.read().unwrap_or_else(PoisonError::into_inner);
        let session = session.as_ref()?;
        let runtime = session.runtime.as_ref()?.handle().clone();
        Some((Arc::clone(&session.link), runtime, session.outbox.clone()))
    }

    /// Connects, without checks.
    fn session(&self) -> Result<Session, LogError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("eventfold-nats")
            .enable_all()
            .build()
            .map_err(|error| LogError::Unavailable(format!("no thread for the log: {error}")))?;
        let complaint = Complaint::default();
        let client = match &self.servers {
            Servers::Client(client) => Ok(client.clone()),
            Servers::Addresses(addresses) => {
                let (addresses, name) = (addresses.clone(), self.names.stream.clone());
                let complaint = complaint.clone();
                let connecting = async move { open::connect(&addresses, &name, complaint).await };
                Self::wait(runtime.handle(), open::LIMIT, connecting).unwrap_or_else(|| {
                    Err(LogError::Unavailable("no NATS server answers".to_owned()))
                })
            }
        };
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let link = Arc::new(Link::new(
            client,
            Arc::clone(&self.names),
            self.progress.clone(),
            self.signals.clone(),
            complaint,
        ));
        let (outbox, told) = mpsc::channel(follow::OUTBOX);
        runtime.spawn(follow::send(Arc::clone(&link), told));
        Ok(Session {
            runtime: Some(runtime),
            link,
            outbox,
        })
    }
}

impl CommitLog for NatsLog {
    fn describe(&self) -> String {
        let servers = match &self.servers {
            Servers::Addresses(addresses) => without_secrets(addresses),
            Servers::Client(client) => {
                let info = client.server_info();
                format!("nats://{}:{}", info.host, info.port)
            }
        };
        format!("the NATS stream `{}` at {servers}", self.names.stream)
    }

    fn open(&self) -> Result<(), LogError> {
        self.names.check()?;
        let session = self.session()?;
        let runtime = session.runtime.as_ref().map(Runtime::handle);
        let (link, replicas) = (Arc::clone(&session.link), self.replicas);
        let opened = runtime.and_then(|runtime| {
            Self::wait(runtime, open::LIMIT * 2, async move {
                link.open(replicas).await
            })
        });
        opened.unwrap_or_else(|| {
            Err(LogError::Unavailable(
                "the NATS servers do not answer".to_owned(),
            ))
        })?;
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Some(session);
        Ok(())
    }

    fn max_entry_bytes(&self) -> usize {
        let limit = self
            .link()
            .map_or(0, |(link, ..)| link.client.max_payload());
        limit.saturating_sub(append::HEADERS).min(STREAM_LIMIT)
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let Some((link, runtime, outbox)) = self.link() else {
            return Err(AppendError::Unavailable(NOT_OPEN.to_owned()));
        };
        let limit = self.max_entry_bytes();
        if text.len() > limit {
            return Err(AppendError::Refused(format!(
                "it has {} bytes, and the NATS servers take {limit}: set `max_payload` on each server",
                text.len()
            )));
        }
        let body: Arc<[u8]> = link.packer.pack(&text).into();
        let appended = Self::wait(&runtime, append::LIMIT, async move {
            let appended = link.append(after, &body).await;
            if appended.is_ok() {
                // The others read the entry if they do not hear of it.
                let _ = outbox.try_send(Telling::Entry(after.saturating_add(1), body));
            }
            appended
        });
        appended.unwrap_or_else(|| {
            Err(AppendError::Unknown(
                "the NATS servers do not answer".to_owned(),
            ))
        })
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let Some((link, runtime, _)) = self.link() else {
            return Err(LogError::Unavailable(NOT_OPEN.to_owned()));
        };
        if let Some(told) = link.take_told(from, max_bytes) {
            return Ok(told);
        }
        let read = Self::wait(&runtime, read::LIMIT, async move {
            link.read(from, max_bytes).await
        });
        read.unwrap_or_else(|| {
            Err(LogError::Unavailable(
                "the NATS servers do not answer".to_owned(),
            ))
        })
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    fn signal(&self, message: String) {
        if let Some((_, _, outbox)) = self.link() {
            let _ = outbox.try_send(Telling::Signal(message));
        }
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        self.signals.subscribe()
    }

    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        let (link, runtime, _) = self.link()?;
        Some(Arc::new(NatsMessenger::new(link, runtime)))
    }

    fn close(&self) {
        let Some((link, runtime, outbox)) = self.link() else {
            return;
        };
        let (sent, is_sent) = blocking::channel();
        runtime.spawn(async move {
            // The answers are sent first.
            drop(link.answering.write().await);
            outbox.send(Telling::Closing(sent)).await
        });
        // Without a connection, nothing is sent.
        let _ = is_sent.recv_timeout(CLOSING);
    }
}

impl fmt::Debug for NatsLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NatsLog");
        if let Servers::Addresses(addresses) = &self.servers {
            shown.field("servers", &without_secrets(addresses));
        }
        shown
            .field("name", &self.names.stream)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

const NOT_OPEN: &str = "it is not open";

/// The addresses without users and passwords.
fn without_secrets(addresses: &str) -> String {
    let shown = addresses.split(',').map(|address| {
        let address = address.trim();
        let (scheme, rest) = address
            .split_once("://")
            .map_or(("", address), |(scheme, rest)| (scheme, rest));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        if scheme.is_empty() {
            host.to_owned()
        } else {
            format!("{scheme}://{host}")
        }
    });
    shown.collect::<Vec<_>>().join(",")
}
