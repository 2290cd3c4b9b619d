//! One connection, and questions to the servers that end.

use std::fmt;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{RwLock, broadcast, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use super::body::Packer;
use super::names::Names;
use super::read::Reader;
use super::told::{Head, Told};
use crate::replication::{Entry, LogError};

/// The time after which a question is asked again.
const ANSWER: Duration = Duration::from_secs(1);
/// The pause before a question without a receiver is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// The code of JetStream for "stream not found".
const STREAM_NOT_FOUND: u32 = 10059;

/// A connection of an open log.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) names: Arc<Names>,
    pub(super) progress: watch::Sender<u64>,
    pub(super) signals: broadcast::Sender<String>,
    pub(super) complaint: Complaint,
    pub(super) reader: tokio::sync::Mutex<Reader>,
    pub(super) told: Told,
    pub(super) packer: Packer,
    /// The name of this connection in messages.
    teller: String,
    /// The time at which the stream was created, once it is known.
    created: OnceLock<String>,
    /// The highest number of an entry that a leader of the stream has confirmed to this node.
    confirmed: AtomicU64,
    /// Each answer to a question of another node reads it until it is sent.
    pub(super) answering: Arc<RwLock<()>>,
}

/// The errors that a server sends outside of answers. A user's own client does not show them.
#[derive(Clone)]
pub(super) struct Complaint(watch::Sender<String>);

impl Default for Complaint {
    fn default() -> Self {
        Self(watch::Sender::new(String::new()))
    }
}

impl Complaint {
    pub(super) fn note(&self, text: String) {
        self.0.send_replace(text);
    }

    /// Waits for the next word of the server that this user may not publish to a subject, or may not subscribe.
    pub(super) fn about(&self, subject: &str) -> impl Future<Output = Failure> + use<> {
        let mut said = self.0.subscribe();
        let subject = format!("\"{subject}\"");
        async move {
            while said.changed().await.is_ok() {
                let text = said.borrow_and_update();
                let lower = text.to_ascii_lowercase();
                if lower.contains("permissions violation")
                    && (text.contains(&subject) || lower.contains("subscription"))
                {
                    return Failure::Forbidden(text.clone());
                }
            }
            pending().await
        }
    }
}

/// The reason why a question has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The question has not arrived anywhere.
    NotSent(String),
    /// The question is larger than the server allows, and was not sent.
    TooLarge(String),
    /// This user has not the permission. The server has dropped the question.
    Forbidden(String),
    /// The stream holds something that no node has written.
    Foreign(String),
    /// Whether the question has arrived is unknown.
    Silent(String),
    /// The server refuses.
    Api(ApiError),
}

/// An error of the interface of JetStream.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ApiError {
    pub(super) code: u16,
    #[serde(default)]
    pub(super) err_code: u32,
    #[serde(default)]
    pub(super) description: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(reason)
            | Self::Silent(reason)
            | Self::TooLarge(reason)
            | Self::Foreign(reason) => f.write_str(reason),
            Self::Forbidden(said) => {
                write!(
                    f,
                    "this user of NATS has not the permission: the server says \"{said}\""
                )
            }
            Self::Api(error) => write!(f, "{} (code {})", error.description, error.err_code),
        }
    }
}

impl Failure {
    /// Whether the question may be asked again at once.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Silent(_) => true,
            Self::TooLarge(_) | Self::Foreign(_) | Self::Forbidden(_) => false,
            Self::Api(error) => error.code == 503,
        }
    }

    pub(super) fn into_log_error(self, names: &Names) -> LogError {
        let stream = &names.stream;
        match self {
            Self::NotSent(reason) | Self::Silent(reason) => LogError::Unavailable(reason),
            Self::TooLarge(reason) | Self::Foreign(reason) => LogError::Unusable(reason),
            Self::Forbidden(_) => LogError::Unusable(format!("{self}; {}", names.permissions())),
            Self::Api(error) if error.code == 503 => LogError::Unavailable(error.description),
            Self::Api(error) if error.err_code == STREAM_NOT_FOUND => LogError::Unusable(format!(
                "the NATS stream `{stream}` is gone: somebody has deleted it; restore it, or start a new log from one of the nodes"
            )),
            Self::Api(error) => LogError::Unusable(format!(
                "the server refuses the NATS stream `{stream}`: {} (code {})",
                error.description, error.err_code
            )),
        }
    }

    pub(super) fn is_stream_not_found(&self) -> bool {
        matches!(self, Self::Api(error) if error.err_code == STREAM_NOT_FOUND)
    }
}

/// The description of the stream by its leader.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) config: serde_json::Map<String, Value>,
    pub(super) state: StreamState,
    #[serde(default)]
    pub(super) created: String,
    #[serde(default)]
    cluster: Option<Cluster>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreamState {
    pub(super) messages: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

#[derive(Debug, Deserialize)]
struct Cluster {
    #[serde(default)]
    leader: Option<String>,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    #[serde(default)]
    name: String,
    /// The nanoseconds since the leader has heard from it; 0 if it never has.
    #[serde(default)]
    active: u64,
}

/// The leader must have heard from a majority within this time. A follower calls for an election after 4 s of silence at the
/// earliest, so a leader that was cut off or paused notices by this that another may have taken its place.
const LEASE: Duration = Duration::from_millis(2_500);

impl Info {
    /// The reason why the answer may be old. A server answers from its own copy if it knows no leader, and a leader that is cut off
    /// answers as before until it notices.
    fn doubt(&self) -> Option<String> {
        let cluster = self.cluster.as_ref()?;
        if cluster.leader.as_deref().unwrap_or_default().is_empty() {
            return Some("the stream has no leader".to_owned());
        }
        let heard =
            |replica: &&Replica| replica.active > 0 && Duration::from_nanos(replica.active) < LEASE;
        let near = 1 + cluster.replicas.iter().filter(heard).count();
        let all = 1 + cluster.replicas.len();
        (near * 2 <= all).then(|| {
            format!(
                "the leader of the stream hears from {near} of {all} servers, which is no majority"
            )
        })
    }

    /// The number of servers that hold the stream, and whether one is among them. A server that is no part of a cluster does not
    /// give its name.
    pub(super) fn servers(&self) -> usize {
        1 + self
            .cluster
            .as_ref()
            .map_or(0, |cluster| cluster.replicas.len())
    }

    pub(super) fn is_held_by(&self, server: &str) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| {
            cluster.leader.as_deref() == Some(server)
                || cluster
                    .replicas
                    .iter()
                    .any(|replica| replica.name == server)
        })
    }

    /// The version of the server that leads the stream.
    pub(super) fn server_version(&self) -> Option<&str> {
        self.config.get("metadata")?.get("_nats.ver")?.as_str()
    }

    /// Says which entries are missing.
    pub(super) fn check_whole(&self, names: &Names) -> Result<(), LogError> {
        let StreamState {
            messages,
            first_seq,
            last_seq,
            ..
        } = self.state;
        if messages == last_seq && first_seq <= 1 {
            return Ok(());
        }
        Err(LogError::Unusable(format!(
            "the NATS stream `{}` has lost entries: it holds {messages} of {last_seq}, the first of them is {first_seq}; they were \
             removed, or the stream began at a higher number, or the disk of the server that leads it is damaged. Empty the directory of \
             such a server, so that it takes the entries from the others; otherwise restore the stream from a backup, or start a new \
             log from one of the nodes",
            names.stream
        )))
    }
}

impl Link {
    pub(super) fn new(
        client: Client,
        names: Arc<Names>,
        progress: watch::Sender<u64>,
        signals: broadcast::Sender<String>,
        complaint: Complaint,
    ) -> Self {
        Self {
            client,
            names,
            progress,
            signals,
            complaint,
            reader: tokio::sync::Mutex::default(),
            told: Told::default(),
            packer: Packer::default(),
            teller: Uuid::now_v7().to_string(),
            created: OnceLock::new(),
            confirmed: AtomicU64::new(0),
            answering: Arc::default(),
        }
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self, until: Instant) -> Result<(), Failure> {
        while self.client.connection_state() != State::Connected {
            if Instant::now() >= until {
                return Err(Failure::NotSent(
                    "there is no connection to a server".to_owned(),
                ));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Asks once.
    pub(super) async fn ask(
        &self,
        subject: &str,
        payload: Vec<u8>,
        headers: Option<HeaderMap>,
        until: Instant,
    ) -> Result<Message, Failure> {
        if self.client.connection_state() != State::Connected {
            return Err(Failure::NotSent(
                "there is no connection to a server".to_owned(),
            ));
        }
        let mut request = Request::new().payload(payload.into()).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let forbidden = self.complaint.about(subject);
        let answer = timeout_at(until, self.client.send_request(subject.to_owned(), request));
        let answer = tokio::select! {
            answer = answer => answer,
            forbidden = forbidden => return Err(forbidden),
        };
        match answer {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => {
                    Failure::NotSent(format!("no server takes messages to `{subject}`"))
                }
                RequestErrorKind::InvalidSubject => Failure::NotSent(error.to_string()),
                RequestErrorKind::MaxPayloadExceeded => Failure::TooLarge(error.to_string()),
                RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                    Failure::Silent(error.to_string())
                }
            }),
            Err(_) => Err(Failure::Silent(format!("no answer to `{subject}`"))),
        }
    }

    /// Asks the interface of JetStream once.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        body: Option<&Value>,
        until: Instant,
    ) -> Result<T, Failure> {
        let payload = body.map(|body| body.to_string().into_bytes());
        let subject = format!("$JS.API.{endpoint}");
        let message = self
            .ask(&subject, payload.unwrap_or_default(), None, until)
            .await?;
        answer(&message.payload)
    }

    /// Asks the interface of JetStream until a server can answer.
    pub(super) async fn api_until<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        body: Option<&Value>,
        until: Instant,
    ) -> Result<T, Failure> {
        loop {
            let once = until.min(Instant::now() + ANSWER);
            match self.api(endpoint, body, once).await {
                Err(failure) if failure.is_passing() && Instant::now() + PAUSE < until => {
                    sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Asks the leader of the stream about it, until it can answer for all.
    pub(super) async fn info(&self, until: Instant) -> Result<Info, Failure> {
        let endpoint = format!("STREAM.INFO.{}", self.names.stream);
        loop {
            let info: Info = self.api_until(&endpoint, None, until).await?;
            match info.doubt() {
                None => {
                    self.confirm(info.state.last_seq);
                    return Ok(info);
                }
                Some(doubt) if Instant::now() + PAUSE >= until => {
                    return Err(Failure::Silent(doubt));
                }
                Some(_) => sleep(PAUSE).await,
            }
        }
    }

    /// The highest number that a leader has confirmed to this node.
    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Notes that a leader has confirmed an entry.
    pub(super) fn confirm(&self, number: u64) {
        self.confirmed.fetch_max(number, Ordering::AcqRel);
        self.hint(number);
    }

    /// Notes that there may be an entry.
    pub(super) fn hint(&self, number: u64) {
        self.progress.send_if_modified(|last| {
            let is_new = number > *last;
            *last = number.max(*last);
            is_new
        });
    }

    /// The head of a message with an entry that this node has appended.
    pub(super) fn head(&self, number: u64) -> Head<'_> {
        Head {
            stream: self.created.get().map_or("", String::as_str),
            teller: &self.teller,
            number,
        }
    }

    /// Whether a message is from another node, about this stream.
    pub(super) fn is_of_other(&self, head: &Head<'_>) -> bool {
        let created = self.created.get();
        created.is_some_and(|created| created == head.stream) && self.teller != head.teller
    }

    /// The entries from `from` on of which another node has told. Its node has the word of the stream's leader.
    pub(super) fn take_told(&self, from: u64, max_bytes: usize) -> Option<Vec<Entry>> {
        let told = self.told.take(from.max(1), max_bytes);
        self.confirm(told.last()?.number);
        Some(told)
    }

    /// Notes the stream that is open.
    pub(super) fn is_stream(&self, info: &Info) {
        // A log is opened once.
        let _ = self.created.set(info.created.clone());
    }

    /// Sends a message that may be lost.
    pub(super) async fn tell(&self, subject: &str, payload: Vec<u8>) {
        if self.client.connection_state() != State::Connected {
            return;
        }
        let sent = self.client.publish(subject.to_owned(), payload.into());
        // The queue of the client is full while the server takes nothing.
        let _ = timeout(ANSWER, sent).await;
    }
}

/// Reads an answer of JetStream, which is an error or the value.
pub(super) fn answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Failed {
        error: Option<ApiError>,
    }
    let unreadable = |error: serde_json::Error| {
        Failure::Silent(format!("the answer of the server cannot be read: {error}"))
    };
    let failed: Failed = serde_json::from_slice(payload).map_err(unreadable)?;
    match failed.error {
        Some(error) => Err(Failure::Api(error)),
        None => serde_json::from_slice(payload).map_err(unreadable),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info(cluster: &Value) -> Info {
        let state = json!({ "messages": 5, "first_seq": 1, "last_seq": 5 });
        let info = json!({ "config": {}, "state": state, "cluster": cluster });
        answer(info.to_string().as_bytes()).unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[test]
    fn a_server_that_may_not_lead_is_not_believed() {
        let second = 1_000_000_000_u64;
        let replicas = |first: u64, other: u64| json!([{ "active": first }, { "active": other }]);
        for believed in [
            json!(null),
            json!({ "leader": "n0" }),
            json!({ "leader": "n0", "replicas": replicas(second, second) }),
            json!({ "leader": "n0", "replicas": replicas(1, 60 * second) }),
            json!({ "leader": "n0", "replicas": replicas(0, second) }),
        ] {
            assert_eq!(info(&believed).doubt(), None, "{believed}");
        }
        for doubted in [
            json!({}),
            json!({ "leader": "" }),
            json!({ "replicas": replicas(second, second) }),
            json!({ "leader": "", "replicas": replicas(1, 1) }),
            json!({ "leader": "n0", "replicas": replicas(3 * second, 3 * second) }),
            json!({ "leader": "n0", "replicas": replicas(0, 0) }),
            json!({ "leader": "n0", "replicas": [{ "active": 3 * second }] }),
        ] {
            assert!(info(&doubted).doubt().is_some(), "{doubted}");
        }
    }
}
