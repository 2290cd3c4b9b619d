//! What users rely on without calling it: auto traits, error types and their texts, examples in the documentation.

mod declared;
mod sources;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};
use crate::common::sagas::{ReservationByHand, ReservationSaga, ReservationSagaEnvelope};
use eventfold_es::contract::{ProjectError, ReactError, ReadModel, RowProjection};
use eventfold_es::prelude::*;
use eventfold_es::store::{InjectOptions, ProcessManagerReport, ProcessManagerStatus, Rows};
use eventfold_es::{
    AggregateHandle, AggregateStoreBuilder, CommandBus, Damage, DeadLetter, DispatchError, Error,
    EventError, ExecuteError, Executed, FileError, History, Index, Loaded, OpenError,
    ProcessManagerHandle, RawRecorded, Reactions, RecoveryReport, RunMode, StateError, StoreError,
    StoreRuntime, TransactionError,
};
use eventfold_es_tests::TestResult;

/// Every change of the public items changes the list too, so that it is seen in review.
#[test]
fn the_public_items_are_those_of_the_list() -> TestResult {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../eventfold-es");
    let items = declared::public_items(&library.join("src"), "eventfold_es");
    let list = library.join("public_items.txt");
    if std::env::var_os(eventfold_es::schema::BLESS).is_some() {
        std::fs::write(&list, items)?;
        return Ok(());
    }
    let listed = std::fs::read_to_string(&list)?;
    let mut differing = items.lines().zip(listed.lines());
    let first = differing.find(|(item, listed)| item != listed);
    assert!(
        items == listed,
        "the public items differ from {}, first in {first:?}; `{}=1` writes them anew",
        list.display(),
        eventfold_es::schema::BLESS
    );
    Ok(())
}

fn shared<T: Send + Sync + Debug + 'static>() {}

#[test]
fn everything_that_is_held_or_returned_can_cross_threads_and_be_printed() {
    shared::<AggregateStore>();
    shared::<AggregateStoreBuilder>();
    shared::<AggregateHandle<Counter>>();
    shared::<CommandBus>();
    shared::<Executed<CounterEvent>>();
    shared::<CommandContext>();
    shared::<Loaded<Counter>>();
    shared::<CommandEnvelope>();
    shared::<Envelope<Counter>>();
    shared::<ReservationSagaEnvelope>();
    shared::<DeadLetter>();
    shared::<RecordedEvent>();
    shared::<Reaction<'static, ReservationSaga>>();
    shared::<EventContext<'static>>();
    shared::<ProcessManagerReport>();
    shared::<ProcessManagerStatus>();
    shared::<Reactions>();
    shared::<RecoveryReport>();
    shared::<RunMode>();
    shared::<InjectOptions>();
    shared::<StoreRuntime>();
    shared::<History<RawRecorded>>();
}

#[test]
fn store_and_handle_are_cloned_without_demands_on_the_aggregate() {
    fn cloned<T: Clone>() {}
    cloned::<AggregateStore>();
    cloned::<AggregateHandle<Counter>>();
    cloned::<StoreError>();
    cloned::<StateError>();
    cloned::<ExecuteError<CounterError>>();
}

#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Nothing;

impl Project<Counter> for Nothing {
    fn project(&mut self, _: &CounterEvent, _: &EventContext<'_>) {}
}

fn send<T: Send>(_: T) {}
fn send_and_sync<T: Send + Sync>(_: T) {}

/// Never called: it compiles if every future of the crate can be spawned by code that is generic over the types of the user.
///
/// Those that hold a command or a store that is being opened are no more than `Send`.
#[expect(dead_code, reason = "it is enough that it compiles")]
fn every_future_can_be_spawned<
    A: Aggregate,
    C: Command,
    P: Projection,
    X: Into<CommandContext> + Send,
>(
    [builder, to_repair]: [AggregateStoreBuilder; 2],
    store: &AggregateStore,
    handle: &AggregateHandle<A>,
    bus: &CommandBus,
    (command, other, last): (A::Command, C, C),
    event: eventfold_es::eventfold::Event,
    [first, second, third]: [X; 3],
) {
    send(builder.open());
    send(to_repair.repair());
    send(AggregateStore::open("."));
    send_and_sync(store.get::<A>("c"));
    send(store.send("c", other, first));
    send_and_sync(store.list::<A>());
    send_and_sync(store.list_streams(None));
    send_and_sync(store.read_events("counter", "c"));
    send_and_sync(store.history::<A>("c").next());
    send_and_sync(store.history::<A>("c").collect());
    send_and_sync(store.raw_history("counter", "c").collect());
    send_and_sync(store.projection::<P>());
    send_and_sync(store.with_projection::<P, _>(|_| ()));
    send_and_sync(store.rebuild_projection::<P>());
    send_and_sync(store.run_process_managers());
    send_and_sync(store.inject_event::<A>("c", event, InjectOptions::default()));
    send_and_sync(store.verify());
    send_and_sync(store.clone().close());
    send(handle.execute(command, second));
    send_and_sync(handle.state());
    send(store.transaction(()).commit());
    send_and_sync(handle.load());
    send_and_sync(handle.state_at(1));
    send_and_sync(handle.state_at_time(SystemTime::UNIX_EPOCH));
    send_and_sync(handle.exists());
    send(bus.dispatch("c", last, third));
}

/// As [`every_future_can_be_spawned`], for those of projections of all kinds.
#[expect(dead_code, reason = "it is enough that it compiles")]
fn every_future_of_a_projection_can_be_spawned<M: ReadModel, P: RowProjection<Key = String>>(
    store: &AggregateStore,
    rows: &Rows<P>,
    index: Index<P, u64>,
) {
    send_and_sync(store.wait_for::<M>(1, Duration::ZERO));
    send_and_sync(store.rebuild_projection::<M>());
    send_and_sync(rows.get("key"));
    send_and_sync(rows.all().collect());
    send_and_sync(rows.by(index, &1).page());
    send_and_sync(rows.prefix("k").count());
}

/// As [`every_future_can_be_spawned`], for those of process managers.
#[expect(dead_code, reason = "it is enough that it compiles")]
fn every_future_of_a_process_manager_can_be_spawned<PM: ProcessManager>(
    store: &AggregateStore,
    handle: &ProcessManagerHandle<PM>,
) {
    send_and_sync(store.dead_letters::<PM>());
    send_and_sync(handle.status());
    send_and_sync(handle.instance("key"));
    send_and_sync(handle.instances(None, 10));
    send_and_sync(handle.parked());
    send_and_sync(handle.dead_letters());
    send_and_sync(handle.pause());
    send_and_sync(handle.resume());
    send_and_sync(handle.settle());
    send_and_sync(handle.retry());
    send_and_sync(handle.skip());
    send_and_sync(handle.redrive("id"));
    send_and_sync(handle.redrive_all());
    send_and_sync(handle.discard("id"));
    send_and_sync(handle.discard_all());
    send_and_sync(handle.release("key"));
    send_and_sync(handle.release_stream("counter", "c"));
    send_and_sync(handle.discard_parked("key"));
    send_and_sync(handle.discard_stream("counter", "c"));
    send_and_sync(handle.rebuild_state());
}

/// As [`every_future_can_be_spawned`], for those of the test kit: they are as `Send` as what they are given.
#[expect(dead_code, reason = "it is enough that it compiles")]
fn crash_tests_can_be_spawned() {
    let workload = async |_: AggregateStore| {};
    let check = async |_: AggregateStore| {};
    send(eventfold_es::testing::for_each_crash_point(
        |builder| builder,
        workload,
        check,
    ));
}

/// A request of a web framework, as a program may have one.
struct Request {
    user: &'static str,
}

impl From<Request> for CommandContext {
    fn from(request: Request) -> Self {
        Self::default().with_actor(request.user)
    }
}

#[tokio::test]
async fn whatever_becomes_a_context_travels_with_a_command() -> TestResult {
    let directory = tempfile::tempdir()?;
    let store = AggregateStore::open(directory.path()).await?;
    store.send("c", CounterCommand::Add(1), ()).await?;
    let handle = store.get::<Counter>("c").await?;
    handle.execute(CounterCommand::Add(1), ()).await?;
    let request = Request { user: "alice" };
    handle.execute(CounterCommand::Add(1), request).await?;
    let mut bus = CommandBus::new(store.clone());
    bus.register::<Counter>();
    bus.dispatch("c", CounterCommand::Add(1), ()).await?;
    let events = store.read_events("counter", "c").await?;
    let actors: Vec<_> = events.iter().map(|read| read.actor.as_deref()).collect();
    assert_eq!(actors, [None, None, Some("alice"), None]);
    let envelope = Envelope::<Counter>::new("c", CounterCommand::Nothing, ());
    assert_eq!(envelope.context, CommandContext::from(()));
    Ok(())
}

/// The names that programs use in signatures and matches, from the prelude alone.
mod from_the_prelude {
    use eventfold_es::prelude::*;

    #[test]
    fn modes_outcomes_errors_and_backoffs_can_be_named() {
        let _: RunMode = RunMode::Inline;
        let _: Reactions = Reactions::Done;
        let _: Backoff = Backoff::exponential(std::time::Duration::from_secs(1));
        let error = ExecuteError::Domain(super::CounterError::Rejected { sum: 1 });
        assert!(matches!(error, ExecuteError::Domain(_)));
    }
}

#[test]
fn errors_are_errors_and_fit_into_boxes() {
    fn error<T: StdError + Send + Sync + 'static>() {}
    error::<OpenError>();
    error::<StoreError>();
    error::<StateError>();
    error::<ExecuteError<CounterError>>();
    error::<TransactionError>();
    error::<DispatchError>();
    error::<EventError>();
    error::<ReactError>();
    error::<ProjectError>();
    error::<Damage>();
    error::<FileError>();
    error::<Error>();
    fn into_one<T: Into<Error>>() {}
    into_one::<OpenError>();
    into_one::<StoreError>();
    into_one::<StateError>();
    into_one::<ExecuteError<CounterError>>();
    into_one::<TransactionError>();
    into_one::<DispatchError>();
    into_one::<EventError>();
}

fn assert_says(error: &dyn StdError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
}

/// Scenario 37.
#[tokio::test]
async fn a_second_store_on_one_directory_is_refused_naming_the_holder() -> TestResult {
    let base = tempfile::tempdir()?;
    let first = AggregateStore::open(base.path()).await?;
    let holder = format!("process {}", std::process::id());
    let path = base.path().display().to_string();
    for _ in 0..2 {
        let error = AggregateStore::open(base.path()).await.unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }));
        assert_says(
            &error,
            &[&path, &holder, "close it there, or use another directory"],
        );
    }
    // The first goes on.
    first
        .send("c", CounterCommand::Add(1), CommandContext::default())
        .await?;
    // A handle keeps it open, however it was reached.
    let handle = first.get::<Counter>("c").await?;
    drop(first);
    assert!(matches!(
        AggregateStore::open(base.path()).await,
        Err(OpenError::InUse { .. })
    ));
    assert_eq!(
        handle
            .execute(CounterCommand::Add(1), CommandContext::default())
            .await?
            .version,
        2
    );
    drop(handle);
    AggregateStore::open(base.path()).await?;
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn damage_is_refused_naming_file_and_offset_and_nothing_is_changed() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for number in 1..=3 {
        store
            .send("c", CounterCommand::Add(number), CommandContext::default())
            .await?;
    }
    store.close().await?;
    let journal = base.path().join("meta/journal/app.jsonl");
    let intact = std::fs::read_to_string(&journal)?;
    let second = intact.find('\n').unwrap() + 1;
    let damaged = intact.replace("\"Added\",\"data\":2", "\"Added\",\"data\":9");
    assert_ne!(damaged, intact);
    std::fs::write(&journal, &damaged)?;
    std::fs::remove_file(base.path().join("meta/checkpoint.json"))?;
    for _ in 0..2 {
        let error = AggregateStore::open(base.path()).await.unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
        let file = journal.display().to_string();
        assert_says(
            &error,
            &["cannot be opened", &file, &format!("at byte {second}")],
        );
        assert_eq!(std::fs::read_to_string(&journal)?, damaged);
    }
    std::fs::write(&journal, &intact)?;
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(store.get::<Counter>("c").await?.state().await?.sum, 6);
    Ok(())
}

/// A process manager of the same name whose state has another form.
#[derive(Debug, Default, Serialize, Deserialize)]
struct OtherForm {
    needed: Vec<String>,
}

impl ProcessManager for OtherForm {
    const NAME: &'static str = ReservationByHand::NAME;
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &["order"]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        _stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        Ok(Vec::new())
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Unnameable;

impl Projection for Unnameable {
    const NAME: &'static str = "../escape";

    fn subscriptions(&self) -> &'static [&'static str] {
        &[]
    }

    fn apply(&mut self, _: &str, _: &str, _: &RecordedEvent) -> Result<(), ProjectError> {
        Ok(())
    }
}

/// Subscribes to the list, if there is one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Listener<const HAS_LIST: bool>;

impl<const HAS_LIST: bool> Listener<HAS_LIST> {
    const LIST: Option<&'static [&'static str]> = match HAS_LIST {
        true => Some(&[]),
        false => None,
    };
}

impl<const HAS_LIST: bool> Projection for Listener<HAS_LIST> {
    const NAME: &'static str = "listener";
    const SUBSCRIPTIONS: Option<&'static [&'static str]> = Self::LIST;

    fn apply(&mut self, _: &str, _: &str, _: &RecordedEvent) -> Result<(), ProjectError> {
        Ok(())
    }
}

impl<const HAS_LIST: bool> ProcessManager for Listener<HAS_LIST> {
    const NAME: &'static str = "listener";
    const SUBSCRIPTIONS: Option<&'static [&'static str]> = Self::LIST;
    type Envelope = CommandEnvelope;

    fn react(
        &mut self,
        _: &str,
        _: &str,
        _: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn whoever_forgets_to_subscribe_is_told() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = || AggregateStore::builder(base.path().join("store"));
    for builder in [
        builder().projection::<Listener<false>>(),
        builder().process_manager::<Listener<false>>(),
    ] {
        let error = builder.open().await.unwrap_err();
        assert!(matches!(
            error,
            OpenError::NoSubscriptions {
                name: "listener",
                ..
            }
        ));
        assert_says(
            &error,
            &[
                "Listener<false> subscribes to nothing",
                "implement `fn subscriptions(&self)`",
                "`Some(&[Order::AGGREGATE_TYPE])`",
                "`Some(&[])`",
            ],
        );
        assert!(!base.path().join("store").exists());
    }
    // One that says so is believed.
    let builder = builder().projection::<Listener<true>>();
    let store = builder.process_manager::<Listener<true>>().open().await?;
    store.close().await?;
    Ok(())
}

/// Scenario 20, and names.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_cannot_be_opened_says_what_to_do_and_changes_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = || AggregateStore::builder(base.path());
    builder()
        .process_manager::<ReservationByHand>()
        .open()
        .await?
        .close()
        .await?;

    let error = builder()
        .process_manager::<OtherForm>()
        .open()
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::ProcessManagerState { .. }));
    assert_says(
        &error,
        &[
            "`reservation-by-hand`",
            "missing field `needed`",
            "`#[serde(default)]`",
        ],
    );

    let error = builder()
        .process_manager::<ReservationByHand>()
        .process_manager::<OtherForm>()
        .open()
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::NameTaken { .. }));
    assert_says(
        &error,
        &[
            "ReservationByHand",
            "OtherForm",
            "give one of them another `name",
        ],
    );

    let error = builder()
        .projection::<Unnameable>()
        .open()
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::InvalidName { .. }));
    assert_says(
        &error,
        &[
            "`../escape`",
            "Unnameable",
            "1 to 100 bytes of [A-Za-z0-9._-]",
        ],
    );

    let file = base.path().join("file");
    std::fs::write(&file, "")?;
    let error = AggregateStore::open(&file).await.unwrap_err();
    assert_says(&error, &["cannot be opened", &file.display().to_string()]);

    // The same type twice is once.
    let store = builder()
        .process_manager::<ReservationByHand>()
        .process_manager::<ReservationByHand>()
        .projection::<Nothing>()
        .projection::<Nothing>()
        .open()
        .await?;
    assert_eq!(store.health().await.process_managers.len(), 1);
    Ok(())
}

/// Otherwise the first command that waits for reactions would panic, when it is already stored.
#[test]
fn a_runtime_without_timer_is_refused_before_anything_is_done() -> TestResult {
    let base = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let opening = AssertUnwindSafe(|| runtime.block_on(AggregateStore::open(base.path())));
    let panicked = std::panic::catch_unwind(opening).unwrap_err();
    let text = panicked.downcast_ref::<String>().unwrap();
    assert!(text.contains("timers are disabled"), "{text}");
    assert_eq!(std::fs::read_dir(base.path())?.count(), 0);
    Ok(())
}

/// A program that only wants one error type loses no text and no cause.
#[tokio::test]
async fn one_error_type_takes_them_all() -> TestResult {
    async fn program(base: &Path, command: CounterCommand) -> Result<(), Error> {
        let store = AggregateStore::open(base).await?;
        let counter = store.get::<Counter>("c").await?;
        counter.execute(command, CommandContext::default()).await?;
        counter.state().await?;
        Ok(())
    }
    let base = tempfile::tempdir()?;
    program(base.path(), CounterCommand::Add(2)).await?;
    let error = program(base.path(), CounterCommand::Reject)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "rejected at the sum 2");
    let error = program(base.path(), CounterCommand::Measure(f64::NAN))
        .await
        .unwrap_err();
    assert_says(&error, &["`Measured` cannot be stored"]);
    Ok(())
}

/// The types that a newcomer meets first show how they are used; the examples run with the tests of the library.
#[test]
fn the_documentation_has_examples() -> TestResult {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../eventfold-es/src");
    let files = [
        "aggregate.rs",
        "command.rs",
        "command_bus.rs",
        "dead_letter.rs",
        "envelope.rs",
        "event.rs",
        "names.rs",
        "process_manager/mod.rs",
        "process_manager/reaction.rs",
        "projection/mod.rs",
        "store/builder.rs",
        "store/inject.rs",
        "store/mod.rs",
    ];
    for file in files {
        let text = std::fs::read_to_string(source.join(file))?;
        assert!(text.contains("/// # Examples"), "{file} has no example");
        assert!(text.contains("/// ```"), "{file} has no code");
    }
    Ok(())
}
