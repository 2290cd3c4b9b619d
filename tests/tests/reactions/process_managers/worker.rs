//! A process manager that does what posts say, before and after it was mended: two programs with one name.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::{Backoff, Exhausted, RunMode};

use crate::process_managers::domain::{Log, LogCommand, Refusal};

/// Something is said on a post; the words say what the process manager does about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Say(pub String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PostEvent {
    Said(String),
}

#[aggregate(command = Say, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Post;

impl Decider for Post {
    fn decide(&self, Say(words): Say) -> Result<Vec<PostEvent>, Infallible> {
        Ok(vec![PostEvent::Said(words)])
    }

    fn evolve(&mut self, _: &PostEvent) {}
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alarm {
    pub text: String,
}

/// How long before a deadline, and before the first retry.
pub const TIME: Duration = Duration::from_secs(60);

/// The words of a post, by the first of them.
pub fn words(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

pub fn append(tag: &str) -> LogCommand {
    let tag = tag.to_owned();
    LogCommand::Append { tag }
}

pub fn refuse(tag: &str) -> LogCommand {
    let (tag, compensate) = (tag.to_owned(), false);
    LogCommand::Refuse { tag, compensate }
}

/// | words | what is done |
/// |---|---|
/// | `poison` how | a panic, until it is mended, about which nothing is said, or `skip`, `repair` or `letter` |
/// | `unreadable` | a panic in the correlation, until it is mended |
/// | `ends` how | completes, and appends `end`; with `refuse` it sends something else that is refused |
/// | `arm` text | a deadline, which appends the text; `poison` panics there, until it is mended |
/// | `disarm` | disarms it |
/// | `past` text | a deadline whose time has come |
/// | `refuse` tag | sends what is refused until the log is open: what becomes of it depends on the tag |
/// | anything else | appends it |
// Each time it formats this, rustfmt moves the arguments further to the right.
#[rustfmt::skip]
macro_rules! worker {
    ($name:ident, $is_broken:literal, $is_unreadable:literal) => {
        #[process_manager(
            subscribes = [Post],
            dispatches = [Log],
            key = String,
            deadlines = [Alarm],
            on_failure,
            name = "worker"
        )]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct $name {
            pub seen: u64,
        }

        impl Correlate<Post> for $name {
            fn correlate(event: &PostEvent, cx: &EventContext<'_>) -> Correlation<String> {
                let PostEvent::Said(said) = event;
                assert!(!$is_unreadable || !said.starts_with("unreadable"), "it cannot be read");
                let key = cx.stream_id().to_owned();
                match words(said).0 {
                    "continue" => Correlation::continues(key),
                    _ => Correlation::starts_or_continues(key),
                }
            }
        }

        impl React<Post> for $name {
            fn react(&mut self, event: &PostEvent, cx: &mut Reaction<'_, Self>) {
                let PostEvent::Said(said) = event;
                self.seen += 1;
                let key = cx.key().clone();
                match words(said) {
                    ("poison", how) => {
                        assert!(!$is_broken, "it is poison, {how}");
                        cx.send(key, append(format!("{how} cured").trim_start()));
                    }
                    ("ends", how) => {
                        cx.send(key.clone(), append("end"));
                        if how == "refuse" {
                            cx.send(key, refuse("park at the end"));
                        }
                        cx.complete();
                    }
                    ("arm", text) => {
                        let text = text.to_owned();
                        cx.schedule("alarm", Deadline::after(TIME), Alarm { text });
                    }
                    ("past", text) => {
                        let text = text.to_owned();
                        let due = Deadline::at(beginning() - TIME);
                        cx.schedule("alarm", due, Alarm { text });
                    }
                    ("disarm", _) => cx.cancel("alarm"),
                    ("refuse", tags) => {
                        for tag in tags.split(' ') {
                            cx.send(key.clone(), refuse(tag));
                        }
                    }
                    _ => cx.send(key, append(said)),
                }
            }
        }

        impl OnDeadline<Alarm> for $name {
            fn on_deadline(&mut self, Alarm { text }: Alarm, cx: &mut Reaction<'_, Self>) {
                let is_poison = $is_broken && text.starts_with("poison");
                assert!(!is_poison, "the alarm is {text}");
                self.seen += 1;
                // Where it comes from is told without being said.
                let context = CommandContext::default();
                cx.send_with(cx.key().clone(), append(&text), context);
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                let said = match &failure.cause {
                    eventfold_es::FailureCause::Panicked { message } => message.as_str(),
                    _ => "",
                };
                let tag = failure.rejection::<Refusal>().map(|refusal| &*refusal.tag);
                match tag {
                    Some(tag) if tag.starts_with("park") => FailureAction::Park,
                    Some(tag) if tag.starts_with("skip") => FailureAction::Skip,
                    Some(tag) if tag.starts_with("retry") => {
                        let backoff = Backoff::exponential(TIME).jitter(0.0).attempts(2);
                        FailureAction::Retry(backoff.then(Exhausted::Park))
                    }
                    Some(tag) if tag.starts_with("repair") => {
                        FailureAction::compensate(failure.key, append(&format!("not {tag}")))
                    }
                    _ if said.contains("skip") => FailureAction::Skip,
                    _ if said.contains("letter") => FailureAction::DeadLetter,
                    _ if said.contains("repair") => {
                        FailureAction::compensate(failure.key, append("repaired"))
                    }
                    _ => FailureAction::default_for(failure),
                }
            }
        }
    };
}

worker!(Broken, true, true);
worker!(Mended, false, false);
// They have one mistake each.
worker!(BrokenReaction, true, false);
worker!(BrokenCorrelation, false, true);

/// The same with one state for all, and whose log is `solo`.
// Each time it formats this, rustfmt moves the arguments further to the right.
#[rustfmt::skip]
macro_rules! solo {
    ($name:ident, $is_broken:literal) => {
        #[process_manager(
            subscribes = [Post],
            dispatches = [Log],
            deadlines = [Alarm],
            name = "solo"
        )]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct $name {
            pub seen: u64,
        }

        impl React<Post> for $name {
            fn react(&mut self, event: &PostEvent, cx: &mut Reaction<'_, Self>) {
                let PostEvent::Said(said) = event;
                self.seen += 1;
                match words(said) {
                    ("poison", _) => {
                        assert!(!$is_broken, "it is poison");
                        cx.send("solo", append("cured"));
                    }
                    ("arm", text) => {
                        let text = text.to_owned();
                        cx.schedule("alarm", Deadline::after(TIME), Alarm { text });
                    }
                    ("quiet", _) => {}
                    _ => cx.send("solo", append(&format!("{said} of {}", self.seen))),
                }
            }
        }

        impl OnDeadline<Alarm> for $name {
            fn on_deadline(&mut self, Alarm { text }: Alarm, cx: &mut Reaction<'_, Self>) {
                assert!(!$is_broken || text != "poison", "the alarm is poison");
                self.seen += 1;
                cx.send("solo", append(&text));
            }
        }
    };
}

solo!(BrokenSolo, true);
solo!(MendedSolo, false);

pub fn beginning() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// A clock that stands.
pub fn clock() -> ManualClock {
    ManualClock::new(beginning())
}

/// A store with one of the programs, which writes streams as it goes.
pub fn with<PM: ProcessManager>(
    builder: AggregateStoreBuilder,
    clock: &ManualClock,
    mode: RunMode,
) -> AggregateStoreBuilder {
    builder
        .process_manager::<PM>()
        .aggregate_type::<Log>()
        .clock(clock.clone())
        .run_mode(mode)
}

pub async fn say(store: &AggregateStore, post: &str, words: &str) {
    let said = store.send(post, Say(words.to_owned()), CommandContext::default());
    said.await.unwrap();
}

/// What was said on a post.
pub async fn said(store: &AggregateStore, post: &str) -> Vec<String> {
    let events = store.read_events("post", post).await.unwrap_or_default();
    let said = events.iter().map(|event| event.data.as_str());
    said.map(|said| said.unwrap_or_default().to_owned())
        .collect()
}
