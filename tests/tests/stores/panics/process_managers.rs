//! Each piece of code of a process manager, of its instances, keys, deadlines and commands panics in turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{ProcessManagerHandle, Reactions};
use eventfold_es_tests::TestResult;

use crate::panics::bomb::{Bomb, arm};
use crate::panics::context;
use crate::panics::mine::{Mine, MineCommand};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    key: String,
    what: String,
    tag: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PhoneEvent {
    Called {
        key: String,
        what: String,
        tag: String,
    },
}

#[aggregate(command = Call, event = PhoneEvent, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Phone;

impl Decider for Phone {
    fn decide(&self, call: Call) -> Result<Vec<PhoneEvent>, std::convert::Infallible> {
        let Call { key, what, tag } = call;
        Ok(vec![PhoneEvent::Called { key, what, tag }])
    }

    fn evolve(&mut self, _: &PhoneEvent) {}
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Alarm(Bomb);

/// Does with the bomb what it is told.
macro_rules! operator {
    ($name:ident $(, $argument:ident = $value:ident)*) => {
        #[process_manager(subscribes = [Phone], dispatches = [Mine], deadlines = [Alarm] $(, $argument = $value)*)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct $name {
            seen: u64,
            bomb: Bomb,
        }

        impl React<Phone> for $name {
            fn react(&mut self, event: &PhoneEvent, cx: &mut Reaction<'_, Self>) {
                let PhoneEvent::Called { what, tag, .. } = event;
                self.seen += 1;
                match what.as_str() {
                    "state" => self.bomb = Bomb::new(tag),
                    "deadline" => {
                        cx.schedule("alarm", Deadline::after(Duration::ZERO), Alarm(Bomb::new(tag)));
                    }
                    "error" => cx.send("target", MineCommand::step(tag)),
                    _ => {}
                }
                let sent = if what == "command" { tag } else { "" };
                cx.send("target", MineCommand::walk(sent));
            }
        }

        impl OnDeadline<Alarm> for $name {
            fn on_deadline(&mut self, _: Alarm, cx: &mut Reaction<'_, Self>) {
                cx.send("target", MineCommand::walk(""));
            }
        }
    };
}

operator!(Single);
operator!(Keyed, key = Bomb);

impl Correlate<Phone> for Keyed {
    fn correlate(event: &PhoneEvent, _: &EventContext<'_>) -> Correlation<Bomb> {
        let PhoneEvent::Called { key, .. } = event;
        Correlation::starts_or_continues(Bomb::new(key))
    }
}

/// What comes of an event while a piece of code panics.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Comes {
    /// The reaction is made.
    Done,
    /// The reaction is made, and its command is a dead letter.
    DeadLetter,
    /// The instance, or the stream of the event, or the process manager without `key`, is parked.
    Parked,
}
use Comes::{DeadLetter, Done, Parked};

const CASES: [(&str, &str, Comes); 14] = [
    ("state", "serialize", Parked),
    ("state", "deserialize", Parked),
    ("state", "drop", Done),
    ("command", "clone", DeadLetter),
    ("command", "decide", DeadLetter),
    // It ends in the decision.
    ("command", "drop", DeadLetter),
    ("error", "display", DeadLetter),
    ("error", "debug", DeadLetter),
    ("error", "serialize", DeadLetter),
    ("error", "clone", DeadLetter),
    ("error", "drop", DeadLetter),
    ("deadline", "serialize", Parked),
    ("deadline", "deserialize", Parked),
    ("deadline", "drop", Parked),
];

async fn call(store: &AggregateStore, phone: &str, key: &str, what: &str, tag: &str) -> Reactions {
    let call = Call {
        key: key.to_owned(),
        what: what.to_owned(),
        tag: tag.to_owned(),
    };
    let done = store.send(phone, call, context()).await.unwrap();
    done.reactions
}

/// What every operator can ask at any time is answered.
async fn answers<PM: ProcessManager>(handle: &ProcessManagerHandle<PM>) -> TestResult {
    handle.status().await?;
    handle.parked().await?;
    handle.pause().await?;
    handle.resume().await?;
    Ok(())
}

async fn walked(store: &AggregateStore) -> u64 {
    let mine = store.get::<Mine>("target").await.unwrap();
    mine.state().await.unwrap().seen
}

#[tokio::test]
async fn a_panic_anywhere_fails_its_instance_only() -> TestResult {
    for (number, (what, code, comes)) in CASES.into_iter().enumerate() {
        let tag = format!("keyed {what} that panics in {code}");
        let base = tempfile::tempdir()?;
        let open = || {
            AggregateStore::builder(base.path())
                .process_manager::<Keyed>()
                .open()
        };
        let store = open().await?;
        let keyed = store.process_manager::<Keyed>()?;
        let armed = arm(&tag, code);
        let reactions = call(&store, "a", "a", what, &tag).await;
        let expected = if comes == Parked {
            Reactions::Parked
        } else {
            Reactions::Done
        };
        // A deadline that is armed is none of the reactions to its event.
        if (what, code) != ("deadline", "deserialize") {
            assert_eq!(reactions, expected, "{tag}");
        }
        answers(&keyed)
            .await
            .map_err(|error| format!("{tag}: {error}"))?;
        let before = walked(&store).await;
        assert_eq!(
            call(&store, "b", "b", "", "").await,
            Reactions::Done,
            "{tag}"
        );
        assert_eq!(walked(&store).await, before + 1, "{tag}");
        let letters = keyed.dead_letters().await?;
        assert_eq!(letters.len(), usize::from(comes == DeadLetter), "{tag}");
        if let Some(letter) = letters.first()
            && !["debug", "drop", "clone", "serialize"].contains(&code)
        {
            assert!(letter.error().contains(code), "{tag}: {}", letter.error());
        }
        drop(armed);
        let parked = keyed.parked().await?;
        assert_eq!(
            parked.len(),
            usize::from(comes == Parked),
            "{tag}: {parked:?}"
        );
        if comes == Parked {
            assert!(
                parked[0].parked.reason.contains(code),
                "{tag}: {}",
                parked[0].parked.reason
            );
            assert_eq!(keyed.release("a").await?.done, 1, "{tag}");
        }
        assert_eq!(
            keyed.redrive_all().await?.failed,
            usize::from(what == "error"),
            "{tag}"
        );
        store.run_process_managers().await?;
        assert!(keyed.parked().await?.is_empty(), "{tag}");
        // One from each; a deadline sends one more.
        let expected = 2 + u64::from(what == "deadline");
        assert_eq!(walked(&store).await, expected, "{number}: {tag}");
        let state = keyed.instance("a").await?;
        drop(keyed);
        store.close().await?;
        let store = open().await?;
        assert_eq!(
            store.process_manager::<Keyed>()?.instance("a").await?,
            state
        );
        assert_eq!(
            call(&store, "a", "a", "", "").await,
            Reactions::Done,
            "{tag}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_panics_holds_its_stream_only() -> TestResult {
    for code in ["display", "from_str", "eq", "drop"] {
        let key = format!("key that panics in {code}");
        let base = tempfile::tempdir()?;
        let store = AggregateStore::builder(base.path())
            .process_manager::<Keyed>()
            .open()
            .await?;
        let keyed = store.process_manager::<Keyed>()?;
        {
            let _armed = arm(&key, code);
            assert_eq!(
                call(&store, "a", &key, "", "").await,
                Reactions::Parked,
                "{code}"
            );
            answers(&keyed).await?;
            assert_eq!(
                call(&store, "b", "b", "", "").await,
                Reactions::Done,
                "{code}"
            );
            let asked = keyed.instance(Bomb::new(&key)).await;
            assert_eq!(asked.is_err(), code == "display", "{code}: {asked:?}");
        }
        assert_eq!(keyed.release_stream("phone", "a").await?.done, 1, "{code}");
        store.run_process_managers().await?;
        assert_eq!(walked(&store).await, 2, "{code}");
    }
    Ok(())
}

#[tokio::test]
async fn a_panic_anywhere_parks_a_process_manager_without_key_and_another_goes_on() -> TestResult {
    for (what, code, comes) in CASES {
        let tag = format!("single {what} that panics in {code}");
        let base = tempfile::tempdir()?;
        let open = || {
            let builder = AggregateStore::builder(base.path());
            builder
                .process_manager::<Single>()
                .process_manager::<Keyed>()
                .open()
        };
        let store = open().await?;
        let single = store.process_manager::<Single>()?;
        let keyed = store.process_manager::<Keyed>()?;
        // The other one does nothing with it.
        keyed.pause().await?;
        let armed = arm(&tag, code);
        call(&store, "a", "a", what, &tag).await;
        single.settle().await.ok();
        answers(&single)
            .await
            .map_err(|error| format!("{tag}: {error}"))?;
        let parked_at = async || store.health().await.process_managers.remove(0).parked_at;
        let parked = parked_at().await;
        assert_eq!(parked.is_some(), comes == Parked, "{tag}: {parked:?}");
        if let Some(parked) = parked {
            assert!(parked.reason.contains(code), "{tag}: {}", parked.reason);
        }
        let mine = store.get::<Mine>("elsewhere").await?;
        mine.execute(MineCommand::walk(""), context()).await?;
        assert_eq!(
            single.dead_letters().await?.len(),
            usize::from(comes == DeadLetter),
            "{tag}"
        );
        // `skip` and `retry` are answered while it panics, too.
        if comes == Parked {
            assert_eq!(single.retry().await?.done, 1, "{tag}");
            store.run_process_managers().await?;
            assert!(parked_at().await.is_some(), "{tag}");
        }
        drop(armed);
        if comes == Parked {
            assert_eq!(single.retry().await?.done, 1, "{tag}");
        }
        store.run_process_managers().await?;
        assert_eq!(parked_at().await, None, "{tag}");
        single.redrive_all().await?;
        let expected = 1 + u64::from(what == "deadline");
        assert_eq!(walked(&store).await, expected, "{tag}");
        drop((single, keyed));
        store.close().await?;
        let store = open().await?;
        call(&store, "a", "a", "", "").await;
        assert_eq!(walked(&store).await, expected + 1, "{tag}");
    }
    Ok(())
}

/// Whether a [`Newborn`] panics in its default now.
static UNBORN: AtomicBool = AtomicBool::new(false);

#[process_manager(subscribes = [Phone], dispatches = [Mine], key = String)]
#[derive(Debug, Serialize, Deserialize)]
pub struct Newborn {
    seen: u64,
}

impl Default for Newborn {
    fn default() -> Self {
        assert!(!UNBORN.load(Ordering::Relaxed), "no default");
        Self { seen: 0 }
    }
}

impl Correlate<Phone> for Newborn {
    fn correlate(event: &PhoneEvent, _: &EventContext<'_>) -> Correlation<String> {
        let PhoneEvent::Called { key, .. } = event;
        Correlation::starts_or_continues(key.clone())
    }
}

impl React<Phone> for Newborn {
    fn react(&mut self, _: &PhoneEvent, cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
        cx.send("target", MineCommand::walk(""));
    }
}

#[tokio::test]
async fn a_default_that_panics_parks_the_instance_that_begins() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = || {
        let builder = AggregateStore::builder(base.path());
        builder.process_manager::<Newborn>().open()
    };
    let store = open().await?;
    assert_eq!(call(&store, "b", "b", "", "").await, Reactions::Done);
    let newborn = store.process_manager::<Newborn>()?;
    UNBORN.store(true, Ordering::Relaxed);
    assert_eq!(call(&store, "a", "a", "", "").await, Reactions::Parked);
    assert_eq!(call(&store, "b", "b", "", "").await, Reactions::Done);
    answers(&newborn).await?;
    let parked = newborn.parked().await?;
    let reason = &parked[0].parked.reason;
    assert!(
        reason.contains("the default of `newborn` panicked: no default"),
        "{reason}"
    );
    assert_eq!(walked(&store).await, 2);
    drop(newborn);
    store.close().await?;
    let refused = open().await.unwrap_err().to_string();
    assert!(
        refused.contains("the default of `newborn` panicked: no default"),
        "{refused}"
    );
    UNBORN.store(false, Ordering::Relaxed);
    let store = open().await?;
    let newborn = store.process_manager::<Newborn>()?;
    assert_eq!(newborn.release("a").await?.done, 1);
    store.run_process_managers().await?;
    assert_eq!(walked(&store).await, 3);
    Ok(())
}

/// A dead letter whose command panics when it is read stays one, and is redriven when it does not.
#[tokio::test]
async fn a_command_that_panics_when_it_is_read_stays_a_dead_letter() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = AggregateStore::builder(base.path());
    let store = builder.process_manager::<Keyed>().open().await?;
    let keyed = store.process_manager::<Keyed>()?;
    {
        let _armed = arm("redriven", "decide");
        assert_eq!(
            call(&store, "a", "a", "command", "redriven").await,
            Reactions::Done
        );
    }
    {
        let _armed = arm("redriven", "deserialize");
        assert_eq!(keyed.redrive_all().await?.failed, 1);
        let letters = keyed.dead_letters().await?;
        let last = letters[0].attempts.last();
        let (kind, error) = last
            .map(|last| (last.kind.clone(), last.error.clone()))
            .unwrap();
        assert_eq!(kind, "panicked");
        assert!(
            error.contains("the decoding of a command of `mine`"),
            "{error}"
        );
    }
    assert_eq!(keyed.redrive_all().await?.done, 1);
    assert_eq!(walked(&store).await, 1);
    Ok(())
}
