//! Scenario 20: a state that was renamed, removed, or written by a newer version, or a key that is written in another way, with work in
//! flight.

use std::time::Duration;

use eventfold_es::StoredState;
use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{MigrationError, OpenError, RunMode};
use eventfold_es_tests::TestResult;

use crate::process_managers::domain::{
    Log, LogCommand, Order, OrderEvent, continued, log_of, started, tell,
};
use crate::process_managers::worker::{self, Post, PostEvent, TIME, append, say};

/// Versions of one process manager, which count what they see under different names.
macro_rules! counter {
    ($name:ident { $($field:ident : $ty:ty),* } $(version $version:literal)? , $count:expr) => {
        #[process_manager(subscribes = [Order], dispatches = [Log], key = String, name = "counter" $(, state_version = $version)?)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            $($field: $ty),*
        }

        impl Correlate<Order> for $name {
            fn correlate(event: &OrderEvent, _cx: &EventContext<'_>) -> Correlation<String> {
                match event {
                    OrderEvent::Started { key } | OrderEvent::Continued { key, .. } => {
                        Correlation::starts_or_continues(key.clone())
                    }
                    _ => Correlation::none(),
                }
            }
        }

        impl React<Order> for $name {
            fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
                let count: fn(&mut Self) -> u64 = $count;
                let tag = count(self).to_string();
                cx.send(cx.key().clone(), LogCommand::Append { tag });
            }
        }
    };
}

counter!(First { seen: u64 }, |state| {
    state.seen += 1;
    state.seen
});
counter!(Renamed { counted: u64 }, |state| {
    state.counted += 1;
    state.counted
});
counter!(Second { counted: u64 } version 2, |state| {
    state.counted += 1;
    state.counted
});

impl MigrateState for Second {
    fn migrate(state: StoredState<'_>) -> Result<Self, MigrationError> {
        match state.version() {
            1 => {
                let First { seen } = state.decode()?;
                Ok(Self { counted: seen })
            }
            _ => Err(MigrationError::unknown(state)),
        }
    }
}

#[tokio::test]
async fn scenario_20_a_state_that_does_not_decode_is_refused_loudly_and_nothing_is_lost()
-> TestResult {
    let disk = MemoryDisk::new();
    let builder = || {
        disk.builder()
            .run_mode(RunMode::Inline)
            .reaction_timeout(Duration::from_secs(5))
    };
    let store = builder().process_manager::<First>().open().await?;
    tell(&store, started("a")).await;
    tell(&store, continued("a", "x")).await;
    assert_eq!(log_of(&store, "a").await, ["1", "2"]);
    store.close().await?;

    // The field was renamed: what there is of the instance is neither dropped nor started over, and says what to do.
    let store = builder().process_manager::<Renamed>().open().await?;
    tell(&store, continued("a", "y")).await;
    tell(&store, started("b")).await;
    assert_eq!(log_of(&store, "a").await, ["1", "2"]);
    assert_eq!(log_of(&store, "b").await, ["1"]);
    let counter = store.process_manager::<Renamed>()?;
    let parked = counter.parked().await?;
    let [parked] = parked.as_slice() else {
        panic!("{parked:?}");
    };
    assert!(
        parked.parked.reason.contains("missing field `counted`"),
        "{parked:?}"
    );
    assert!(
        parked.parked.reason.contains("`state_version`"),
        "{parked:?}"
    );
    store.close().await?;

    // Mended with a migration: what waited is reacted to.
    let store = builder().process_manager::<Second>().open().await?;
    let counter = store.process_manager::<Second>()?;
    counter.release("a").await?;
    store.run_process_managers().await?;
    assert_eq!(log_of(&store, "a").await, ["1", "2", "3"]);
    tell(&store, continued("a", "z")).await;
    assert_eq!(log_of(&store, "a").await, ["1", "2", "3", "4"]);
    store.close().await?;

    // An older program does not touch what a newer one wrote.
    let error = builder()
        .process_manager::<First>()
        .open()
        .await
        .unwrap_err();
    assert!(
        matches!(error, OpenError::ProcessManagerState { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("`counter`") && text.contains("run the newer program"),
        "{text}"
    );
    let store = builder().process_manager::<Second>().open().await?;
    tell(&store, continued("a", "again")).await;
    assert_eq!(log_of(&store, "a").await, ["1", "2", "3", "4", "5"]);
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
struct Bell;

/// A process manager whose key was a text first, and is a number now.
macro_rules! keyed {
    ($name:ident, $key:ty, $to_key:expr) => {
        #[process_manager(subscribes = [Post], dispatches = [Log], key = $key, deadlines = [Bell], name = "keyed")]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            seen: u64,
        }

        impl Correlate<Post> for $name {
            fn correlate(_event: &PostEvent, cx: &EventContext<'_>) -> Correlation<$key> {
                let to_key: fn(&str) -> $key = $to_key;
                Correlation::starts_or_continues(to_key(cx.stream_id()))
            }
        }

        impl React<Post> for $name {
            fn react(&mut self, event: &PostEvent, cx: &mut Reaction<'_, Self>) {
                let PostEvent::Said(said) = event;
                self.seen += 1;
                match &**said {
                    "ring" => cx.schedule("bell", Deadline::after(TIME), Bell),
                    said => cx.send(format!("{}", cx.key()), append(said)),
                }
            }
        }

        impl OnDeadline<Bell> for $name {
            fn on_deadline(&mut self, _bell: Bell, cx: &mut Reaction<'_, Self>) {
                cx.send(format!("{}", cx.key()), append("rung"));
            }
        }
    };
}

keyed!(ByText, String, str::to_owned);
keyed!(ByNumber, u64, |text| text
    .strip_prefix("no-")
    .map_or(0, |number| { number.parse().unwrap_or_default() }));

/// Work of an instance whose key does not read back is kept, and says what to do.
#[tokio::test]
async fn scenario_20_a_key_that_does_not_decode_is_refused_loudly_and_nothing_is_lost() -> TestResult
{
    let (disk, time) = (MemoryDisk::new(), worker::clock());
    let store = worker::with::<ByText>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await?;
    for words in ["one", "ring"] {
        say(&store, "no-7", words).await;
    }
    store.close().await?;

    let store = worker::with::<ByNumber>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await?;
    time.advance(TIME);
    store.run_process_managers().await?;
    let keyed = store.process_manager::<ByNumber>()?;
    let parked = keyed.parked().await?;
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!((parked.instance.as_deref(), parked.held), (Some("no-7"), 1));
    for part in [
        "no-7",
        "does not read back",
        "keep the form in which keys are written",
    ] {
        assert!(parked.parked.reason.contains(part), "{parked:?}");
    }
    // What comes now is for the key as it is now, and what is held stays so.
    say(&store, "no-7", "two").await;
    assert_eq!(log_of(&store, "7").await, ["two"]);
    keyed.release("no-7").await?;
    assert_eq!(keyed.parked().await?[0].held, 1);
    drop(keyed);
    store.close().await?;

    let store = worker::with::<ByText>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await?;
    let keyed = store.process_manager::<ByText>()?;
    assert_eq!(keyed.release("no-7").await?.done, 1);
    assert_eq!(log_of(&store, "no-7").await, ["one", "rung"]);
    drop(keyed);
    store.close().await?;
    Ok(())
}

/// Saves nothing of its state.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Unsaved {
    #[serde(skip)]
    seen: u64,
}

counter!(
    Forgetful {
        all: u64,
        unsaved: Unsaved
    },
    |state| {
        state.all += 1;
        state.unsaved.seen += 1;
        10 * state.all + state.unsaved.seen
    }
);

/// A field that is lost is lost at once: what a reaction sees does not depend on whether the program was started again.
#[tokio::test]
async fn a_reaction_sees_what_was_saved_and_nothing_else() -> TestResult {
    let disk = MemoryDisk::new();
    for _ in 0..2 {
        let store = disk.builder().process_manager::<Forgetful>().open().await?;
        tell(&store, started("a")).await;
        tell(&store, continued("a", "x")).await;
        store.close().await?;
    }
    let store = disk.builder().open().await?;
    assert_eq!(log_of(&store, "a").await, ["11", "21", "31", "41"]);
    Ok(())
}
