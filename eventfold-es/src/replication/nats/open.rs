//! Opening: the stream is created if it is not there, and everything is checked that the guarantees need.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use futures_core::Stream as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout, timeout_at};

use super::append::NEVER;
use super::link::{Complaint, Failure, Info, Link};
use super::{follow, settings};
use crate::replication::LogError;

/// The time for a connection to one of the servers.
const CONNECT: Duration = Duration::from_secs(5);
/// The time for a connection to each server.
const CONNECT_EACH: Duration = Duration::from_secs(2);
/// All of a call. An election in a cluster that has lost a server takes up to 9 s.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// The time in which a message to all nodes comes back.
const COME_BACK: Duration = Duration::from_secs(5);
/// The time in which a server that is not asked may keep silent.
const ASIDE: Duration = Duration::from_millis(500);

/// "The stream exists with other settings": another node has created it at the same time, or it is another one.
const STREAM_EXISTS: u32 = 10058;
/// "No suitable peers for placement": a cluster that starts does not know all its servers.
const NO_PEERS: u32 = 10005;
/// "JetStream is not enabled" on this server, or for this account.
const NOT_ENABLED: [u32; 2] = [10076, 10039];
/// "Wrong last sequence", "no message found".
const WRONG_LAST_SEQUENCE: u32 = 10071;

pub(super) async fn connect(
    addresses: &str,
    name: &str,
    complaint: Complaint,
) -> Result<Client, LogError> {
    let shown = super::without_secrets(addresses);
    let parsed: Result<Vec<ServerAddr>, _> = addresses
        .split(',')
        .map(str::trim)
        .filter(|address| !address.is_empty())
        .map(str::parse)
        .collect();
    let servers =
        parsed.map_err(|_| LogError::Unusable(format!("the addresses {shown} cannot be read")))?;
    if servers.is_empty() {
        return Err(LogError::Unusable(
            "there is no address of a NATS server: write, for example, `nats://10.0.0.1:4222,nats://10.0.0.2:4222`".to_owned(),
        ));
    }
    let options = with_user(ConnectOptions::new(), &servers)
        .name(format!("eventfold-es {name}"))
        .connection_timeout(CONNECT_EACH)
        // A server that hangs is left after three of them.
        .ping_interval(Duration::from_secs(1))
        .reconnect_delay_callback(|attempts| {
            let pause = (attempts as u64).saturating_sub(1).saturating_mul(50);
            Duration::from_millis(pause.min(500))
        })
        .event_callback(move |event| {
            let complaint = complaint.clone();
            async move {
                tracing::debug!(%event, "the connection to NATS");
                if let Event::ServerError(error) = event {
                    complaint.note(error.to_string());
                }
            }
        });
    match timeout(CONNECT, options.connect(servers)).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                LogError::Unusable(format!(
                    "the NATS servers at {shown} refuse this user: check the user and the password in the addresses, or connect a client of \
                     your own and use `NatsLog::new`"
                ))
            }
            kind => LogError::Unavailable(format!("no NATS server answers at {shown}: {kind}")),
        }),
        Err(_) => Err(LogError::Unavailable(format!(
            "no NATS server answers at {shown} within 5 s"
        ))),
    }
}

/// The client does not take the user of an address by itself. One user is for all servers.
fn with_user(options: ConnectOptions, servers: &[ServerAddr]) -> ConnectOptions {
    let users = servers
        .iter()
        .find_map(|server| Some((server.username()?, server.password())));
    match users {
        Some((user, Some(password))) => options.user_and_password(decoded(user), decoded(password)),
        Some((token, None)) => options.token(decoded(token)),
        None => options,
    }
}

/// A part of an address without its percent signs.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

impl Link {
    /// Opens the log.
    pub(super) async fn open(self: &Arc<Self>, replicas: usize) -> Result<(), LogError> {
        let until = Instant::now() + LIMIT;
        self.connected(Instant::now() + CONNECT)
            .await
            .map_err(|failure| failure.into_log_error(&self.names))?;
        self.check_server(&self.client.server_info().version)?;
        self.check_jetstream(until).await?;
        let info = self.stream(replicas, until).await?;
        self.is_stream(&info);
        self.check_appending(until).await?;
        self.check_reading(until).await?;
        self.check_syncing(&info).await?;
        self.check_telling(until).await?;
        tokio::spawn(follow::poll(Arc::clone(self)));
        Ok(())
    }

    fn check_server(&self, version: &str) -> Result<(), LogError> {
        if settings::is_new_enough(version) {
            return Ok(());
        }
        Err(LogError::Unusable(format!(
            "the NATS server has version {version}, and 2.12 is the oldest that can hold a log: upgrade all servers"
        )))
    }

    /// Turns a failure into an error, with the likely reasons of silence.
    fn explain(&self, failure: Failure, purpose: &str) -> LogError {
        match failure {
            Failure::Silent(reason) => LogError::Unavailable(format!(
                "NATS does not {purpose} in time ({reason}): too few servers run, or this user has not the permission; {}",
                self.names.permissions()
            )),
            failure => failure.into_log_error(&self.names),
        }
    }

    async fn check_jetstream(&self, until: Instant) -> Result<(), LogError> {
        let off = || {
            LogError::Unusable(format!(
                "JetStream is not enabled on the NATS server at {}, or not for this account: configure `jetstream` on each server, and enable \
                 it for the account",
                self.client.server_info().host
            ))
        };
        loop {
            let once = until.min(Instant::now() + Duration::from_secs(2));
            let answer: Result<Value, Failure> = self.api("INFO", None, once).await;
            match answer {
                Ok(_) => return Ok(()),
                Err(Failure::Api(error)) if NOT_ENABLED.contains(&error.err_code) => {
                    return Err(off());
                }
                // Nobody listens: there is no JetStream on any server that this one knows. While a cluster starts, the others may
                // not be known yet.
                Err(Failure::NotSent(_))
                    if !self.client.server_info().jetstream
                        && Instant::now() + LIMIT / 2 > until =>
                {
                    return Err(off());
                }
                Err(failure) if !failure.is_passing() || Instant::now() >= until => {
                    return Err(self.explain(failure, "use JetStream"));
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Creates the stream if it is not there, and checks it.
    async fn stream(&self, replicas: usize, until: Instant) -> Result<Info, LogError> {
        let names = &self.names;
        let info = loop {
            match self.info(until).await {
                Ok(info) => break info,
                Err(failure) if failure.is_stream_not_found() => {}
                Err(failure) => return Err(self.explain(failure, "describe the stream")),
            }
            let endpoint = format!("STREAM.CREATE.{}", names.stream);
            let body = settings::creation(names, replicas);
            let created: Result<Value, Failure> =
                self.api_until(&endpoint, Some(&body), until).await;
            match created {
                Ok(_) => {}
                Err(Failure::Api(error)) if error.err_code == STREAM_EXISTS => {}
                Err(Failure::Api(error)) if error.err_code == NO_PEERS => {
                    return Err(LogError::Unavailable(format!(
                        "the NATS cluster has not the {replicas} servers for the replicas of the stream `{}`, or they are not there yet: {}",
                        names.stream, error.description
                    )));
                }
                Err(Failure::Api(error)) if error.code != 503 => {
                    return Err(LogError::Unusable(format!(
                        "the NATS server does not create the stream `{}` with {replicas} replicas for the subject `{}`: {} (code {}); for \
                         fewer servers than replicas there is `NatsLog::replicas`, and limits are those of the account",
                        names.stream, names.entries, error.description, error.err_code
                    )));
                }
                Err(failure) => return Err(self.explain(failure, "create the stream")),
            }
        };
        settings::check(&info.config, names, replicas).map_err(LogError::Unusable)?;
        info.check_whole(names)?;
        if let Some(version) = info.server_version() {
            self.check_server(version)?;
        }
        Ok(info)
    }

    /// Publishes an entry that the stream must refuse: it says so, if this user may append.
    async fn check_appending(&self, until: Instant) -> Result<(), LogError> {
        loop {
            let once = until.min(Instant::now() + Duration::from_secs(2));
            match self.publish(NEVER, b"", "probe", once).await {
                Err(Failure::Api(error)) if error.err_code == WRONG_LAST_SEQUENCE => return Ok(()),
                Ok(_) => {
                    return Err(LogError::Unusable(format!(
                        "the NATS stream `{}` takes an entry behind one that is not there: it does not know `Nats-Expected-Last-Sequence`; \
                         upgrade the servers",
                        self.names.stream
                    )));
                }
                Err(failure) if !failure.is_passing() || Instant::now() >= until => {
                    return Err(self.explain(failure, "take an entry"));
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn check_reading(&self, until: Instant) -> Result<(), LogError> {
        self.get(1, until)
            .await
            .map_err(|failure| self.explain(failure, "read an entry"))?;
        // Without a consumer, entries are read one by one. It is slower.
        match self
            .begin_reading(1, until.min(Instant::now() + Duration::from_secs(5)))
            .await
        {
            Ok(()) => Ok(()),
            Err(failure) if failure.is_passing() => Ok(()),
            Err(failure) => Err(self.explain(failure, "create a consumer")),
        }
    }

    /// Sends a message to itself, as to all nodes.
    async fn check_telling(self: &Arc<Self>, until: Instant) -> Result<(), LogError> {
        let may_not_hear = self.complaint.about(&self.names.between_nodes);
        let may_not_tell = self.complaint.about(&self.names.probe);
        let subscription = self
            .client
            .subscribe(self.names.between_nodes.clone())
            .await
            .map_err(|error| LogError::Unavailable(error.to_string()))?;
        // No node has this name.
        let asked = self.names.questions_to("-");
        let mut questions = self
            .client
            .subscribe(asked.clone())
            .await
            .map_err(|error| LogError::Unavailable(error.to_string()))?;
        let probe = uuid::Uuid::now_v7().to_string();
        let (seen, mut was_seen) = oneshot::channel();
        tokio::spawn(follow::receive(
            Arc::clone(self),
            subscription,
            Some((probe.clone(), seen)),
        ));
        let (mut may_not_hear, mut may_not_tell) = (pin!(may_not_hear), pin!(may_not_tell));
        let until = until.min(Instant::now() + COME_BACK);
        let mut again = interval(COME_BACK / 5);
        let (mut is_seen, mut is_asked) = (false, false);
        let failure = loop {
            tokio::select! {
                Ok(()) = &mut was_seen, if !is_seen => is_seen = true,
                Some(_) = poll_fn(|cx| Pin::new(&mut questions).poll_next(cx)), if !is_asked => {
                    is_asked = true;
                }
                failure = &mut may_not_hear => break failure,
                failure = &mut may_not_tell => break failure,
                () = sleep_until(until) => break Failure::Silent(
                    "its own message did not come back, as with a client that has `no_echo`".to_owned(),
                ),
                _ = again.tick() => {
                    self.tell(&self.names.probe, probe.clone().into_bytes())
                        .await;
                    self.tell(&asked, probe.clone().into_bytes()).await;
                }
            }
            if is_seen && is_asked {
                return Ok(());
            }
        };
        Err(self.explain(failure, "pass messages between nodes"))
    }

    /// Asks the servers whether they sync each entry. Only the system account may ask. Where it exports the question to the account
    /// of the store, the answers are checked.
    async fn check_syncing(&self, info: &Info) -> Result<(), LogError> {
        #[derive(Deserialize)]
        struct Answer {
            server: Server,
            data: Data,
        }
        #[derive(Deserialize)]
        struct Server {
            name: String,
        }
        #[derive(Deserialize)]
        struct Data {
            config: Option<Config>,
        }
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            sync_always: bool,
        }
        let inbox = self.client.new_inbox();
        let Ok(mut subscription) = self.client.subscribe(inbox.clone()).await else {
            return Ok(());
        };
        let subject = "$SYS.REQ.SERVER.PING.JSZ";
        let body = json!({ "config": true }).to_string();
        if self
            .client
            .publish_with_reply(subject, inbox, body.into())
            .await
            .is_err()
        {
            return Ok(());
        }
        let until = Instant::now() + ASIDE;
        let mut asked = 0;
        let mut lax = Vec::new();
        while asked < info.servers()
            && let Ok(Some(message)) = timeout_at(
                until,
                poll_fn(|cx| Pin::new(&mut subscription).poll_next(cx)),
            )
            .await
        {
            if message.status.is_some() {
                break;
            }
            let Ok(Answer { server, data }) = serde_json::from_slice::<Answer>(&message.payload)
            else {
                continue;
            };
            if !info.is_held_by(&server.name) {
                continue;
            }
            asked += 1;
            if data.config.is_some_and(|config| !config.sync_always) {
                lax.push(server.name);
            }
        }
        if lax.is_empty() {
            tracing::debug!(
                servers = asked,
                "servers that say that they sync each entry"
            );
            return Ok(());
        }
        lax.sort();
        Err(LogError::Unusable(format!(
            "the NATS servers {} acknowledge entries that are not on the disk yet: configure `sync_interval: always` in `jetstream` on each \
             server",
            lax.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn parts_of_addresses_are_decoded() {
        for (part, text) in [
            ("plain", "plain"),
            ("p%40ss%3Aword%2F", "p@ss:word/"),
            ("%C3%A4%", "ä%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("", ""),
        ] {
            assert_eq!(decoded(part), text);
        }
    }
}
