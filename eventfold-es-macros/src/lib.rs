//! The macros of `eventfold-es`, which exports them. Depend on that crate, not on this one.
//!
//! Each phase has its own file: `attributes` reads arguments, `model` checks them, `expand` generates code.
//! `diagnostics` collects every mistake on the way, so that one build reports all of them. The output always begins
//! with the item under the attribute. It is unchanged, except for the field that `#[schedule]` adds. After a declaration with mistakes it continues with the stubs of
//! `fallback`. The expansions are checked in under `src/expansions`.

mod aggregate;
mod attributes;
#[cfg(test)]
mod cost;
mod declared;
mod diagnostics;
mod dispatching;
mod domain_event;
mod event_handler;
mod event_store;
#[cfg(test)]
mod expansions;
mod fallback;
mod generic;
mod item;
mod lists;
mod named_types;
mod names;
mod not_derives;
mod path;
mod process_manager;
mod projection;
mod schedule;
mod shape;
mod skipped;
mod stored_shape;
mod type_text;

use proc_macro::TokenStream;

/// Declares an aggregate. It implements `Aggregate` by delegating to your `Decider` (or `ContextDecider`). It also
/// implements `DecidedBy` for its command type, which makes that type a `Command`.
///
/// It goes on a struct or an enum without parameters, which must also be `Default`, `Clone`, `Serialize` and
/// `Deserialize`.
///
/// # Arguments
///
/// All arguments are optional. The defaults are for a type `Order`.
///
/// | argument | value | default | meaning |
/// |---|---|---|---|
/// | `name` | string, or path of a `&'static str` constant | `"order"` (kebab-case) | the stored name of the type |
/// | `command` | type | `OrderCommand` | its commands; a type of this crate |
/// | `event` | type | `OrderEvent` | its events; derives `DomainEvent` |
/// | `error` | type | `OrderError` | the reason of a rejection; an `std::error::Error` |
/// | `snapshot_version` | whole number, or path of a `u32` constant | `0` | raise it when the fold or the meaning of the state changes: saved states of another version are not used |
/// | `fingerprint` | path of a function `fn(&OrderCommand) -> impl Serialize` | the whole command | the compared part of a command under an idempotency key |
/// | `context` | no value | not given | it decides with its id, its version, the time and the actor: in an `impl ContextDecider` instead of an `impl Decider` |
/// | `crate` | path | `::eventfold_es` | the path of this crate, if it was renamed or is re-exported |
///
/// The name is persisted. A renamed type keeps its data only if `name = ".."` keeps the old name.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
///
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// pub enum CounterCommand { Add { amount: u64 } }
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data")]
/// pub enum CounterEvent { Added { amount: u64 } }
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// pub enum CounterError { #[error("nothing was added")] Nothing }
///
/// #[aggregate]
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// pub struct Counter { total: u64 }
///
/// impl Decider for Counter {
///     fn decide(&self, command: CounterCommand) -> Result<Vec<CounterEvent>, CounterError> {
///         match command {
///             CounterCommand::Add { amount: 0 } => Err(CounterError::Nothing),
///             CounterCommand::Add { amount } => Ok(vec![CounterEvent::Added { amount }]),
///         }
///     }
///
///     fn evolve(&mut self, event: &CounterEvent) {
///         let CounterEvent::Added { amount } = event;
///         self.total += amount;
///     }
/// }
///
/// let counter = Counter::default();
/// assert_eq!(Counter::AGGREGATE_TYPE, "counter");
/// assert_eq!(counter.handle(CounterCommand::Add { amount: 0 }), Err(CounterError::Nothing));
/// assert_eq!(counter.apply(&CounterEvent::Added { amount: 2 }).total, 2);
/// ```
///
/// It generates the code that you would write by hand:
///
/// ```
/// # use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum CounterCommand {}
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum CounterEvent {}
/// # type CounterError = std::convert::Infallible;
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Counter;
/// # impl Decider for Counter {
/// #     fn decide(&self, command: CounterCommand) -> Result<Vec<CounterEvent>, CounterError> { match command {} }
/// #     fn evolve(&mut self, _: &CounterEvent) {}
/// # }
/// impl Aggregate for Counter {
///     const AGGREGATE_TYPE: &'static str = "counter";
///     type Command = CounterCommand;
///     type DomainEvent = CounterEvent;
///     type Error = CounterError;
///
///     fn handle(&self, command: CounterCommand) -> Result<Vec<CounterEvent>, CounterError> {
///         <Self as Decider>::decide(self, command)
///     }
///
///     fn apply(mut self, event: &CounterEvent) -> Self {
///         <Self as Decider>::evolve(&mut self, event);
///         self
///     }
/// }
///
/// impl eventfold_es::contract::DecidedBy for CounterCommand {
///     type Aggregate = Counter;
/// }
/// ```
#[proc_macro_attribute]
pub fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    aggregate::aggregate(arguments.into(), item.into()).into()
}

/// Declares a process manager. It implements `ProcessManager` by delegating to one `React<A>` for each subscribed aggregate,
/// and generates the enum of its commands.
///
/// It goes on a struct or an enum without parameters, which must also be `Default`, `Serialize` and `Deserialize`.
///
/// # Arguments
///
/// The defaults are for a type `ReservationSaga`.
///
/// | argument | value | default | meaning |
/// |---|---|---|---|
/// | `subscribes` | `[Order, ..]` | required | the aggregates of the events that it handles |
/// | `dispatches` | `[Inventory, ..]` | `[]` | the targets of its commands |
/// | `key` | type with `Display`, `FromStr` and `Eq` | none: one instance | the key of its instances, each with a state of its own |
/// | `deadlines` | `[PaymentDue, ..]` | `[]` | the messages that it schedules for itself |
/// | `on_failure` | no value | not given | it decides on failures itself, in an `impl HandleFailure` |
/// | `state_version` | whole number from 1 on, or path of a `u32` constant | `1` | raise it when stored states no longer decode or mean something else, and migrate them in an `impl MigrateState` |
/// | `start` | `"origin"` or `"now"` | `"origin"` | its starting point in a store that does not know it: the first event, or after the last |
/// | `name` | string, or path of a `&'static str` constant | `"reservation-saga"` (kebab-case) | the stored name |
/// | `envelope` | identifier | `ReservationSagaEnvelope` | the generated enum |
/// | `crate` | path | `::eventfold_es` | the path of this crate, if it was renamed or is re-exported |
///
/// The commands of its targets are `Clone + Serialize + Deserialize`, because a rejected command is kept. The name is
/// persisted: under another name it starts from the first event again.
///
/// # Requirements
///
/// - `impl React<A>` for each aggregate `A` in `subscribes`;
/// - with `key`, `impl Correlate<A>` for each of these aggregates, which names the instances of an event. A key has
///   `Display`, a `FromStr` that reads the text of `Display`, and `Eq`; its text is persisted;
/// - `impl OnDeadline<M>` for each message `M` in `deadlines`. A message is stored under the kebab-case of the last
///   segment of its path. A renamed type keeps its deadlines if you import it under the old name, with `use … as …`;
/// - with `on_failure`, `impl HandleFailure`;
/// - with a `state_version` above 1, or a constant, `impl MigrateState`.
///
/// A missing or undeclared impl does not compile.
///
/// # Generated items
///
/// - `impl ProcessManager`, which finds the handler of an event by the stored name of its aggregate type;
/// - `enum ReservationSagaEnvelope`, as visible as the type, with `impl Dispatch`, `Clone` and `Debug`. It has one
///   variant per entry of `dispatches`, named like the last segment of its path. Distinguish equal names with
///   `use … as …`;
/// - markers, from which `SubscribesTo<Order>` follows, and `impl DispatchesTo<Inventory>` for the type. So an
///   undeclared handler or command does not compile. Likewise `Keyed`, `Schedules<PaymentDue>`, `FailurePolicy` and
///   `StateVersioned` for `key`, `deadlines`, `on_failure` and `state_version`;
/// - assertions that no two entries of a list have the same stored name.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum OrderCommand { Confirm }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed { sku: String, qty: u32 } }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum InventoryCommand { Reserve { qty: u32 } }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum InventoryEvent { Reserved { qty: u32 } }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Inventory;
/// # impl Decider for Inventory {
/// #     fn decide(&self, _: InventoryCommand) -> Result<Vec<InventoryEvent>, std::convert::Infallible> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &InventoryEvent) {}
/// # }
///
/// #[process_manager(subscribes = [Order], dispatches = [Inventory])]
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// pub struct ReservationSaga { placed: u64 }
///
/// impl React<Order> for ReservationSaga {
///     fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
///         let OrderEvent::Placed { sku, qty } = event;
///         self.placed += 1;
///         cx.send(format!("inv-{sku}"), InventoryCommand::Reserve { qty: *qty });
///     }
/// }
///
/// let mut saga = ReservationSaga::default();
/// assert_eq!(saga.subscriptions(), ["order"]);
/// let placed = OrderEvent::Placed { sku: "W-1".to_owned(), qty: 2 }.to_event()?;
/// let sent = ProcessManager::react(&mut saga, "order", "ord-1", &RecordedEvent::new(1, 1, placed))?;
/// assert!(matches!(
///     sent.as_slice(),
///     [ReservationSagaEnvelope::Inventory(envelope)] if envelope.instance_id == "inv-W-1"
/// ));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Each order has an instance, which waits an hour for the payment:
///
/// ```
/// use std::time::Duration;
///
/// use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum OrderCommand { Cancel }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed, Paid }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
///
/// #[derive(Serialize, Deserialize)]
/// pub struct PaymentDue;
///
/// #[process_manager(subscribes = [Order], dispatches = [Order], key = String, deadlines = [PaymentDue])]
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// pub struct PaymentSaga;
///
/// impl Correlate<Order> for PaymentSaga {
///     fn correlate(event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
///         let order = cx.stream_id().to_owned();
///         match event {
///             OrderEvent::Placed => Correlation::starts(order),
///             OrderEvent::Paid => Correlation::continues(order),
///         }
///     }
/// }
///
/// impl React<Order> for PaymentSaga {
///     fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
///         match event {
///             OrderEvent::Placed => {
///                 cx.schedule("payment", Deadline::after(Duration::from_secs(3600)), PaymentDue);
///             }
///             OrderEvent::Paid => cx.complete(),
///         }
///     }
/// }
///
/// impl OnDeadline<PaymentDue> for PaymentSaga {
///     fn on_deadline(&mut self, _message: PaymentDue, cx: &mut Reaction<'_, Self>) {
///         cx.send(cx.key(), OrderCommand::Cancel);
///         cx.complete();
///     }
/// }
///
/// let placed = RecordedEvent::new(1, 1, OrderEvent::Placed.to_event()?);
/// let effects = PaymentSaga.react_in("ord-1", "order", "ord-1", &placed)?;
/// assert_eq!(effects.timers.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_attribute]
pub fn process_manager(arguments: TokenStream, item: TokenStream) -> TokenStream {
    process_manager::process_manager(arguments.into(), item.into()).into()
}

/// Declares an event handler: a workflow that reaches the world outside, such as an e-mail server or a payment provider. It
/// implements `EventHandler` by delegating to one `Handle<A>` for each subscribed aggregate, and generates the enum of its commands.
///
/// It goes on a struct or an enum without parameters. The value has the resources of the handler, such as a client, and is
/// given to the builder of the store. It is not stored, so it derives neither `Serialize` nor `Default`.
///
/// # Arguments
///
/// The defaults are for a type `Mailer`.
///
/// | argument | value | default | meaning |
/// |---|---|---|---|
/// | `subscribes` | `[Order, ..]` | required | the aggregates of the events that it handles |
/// | `dispatches` | `[Order, ..]` | `[]` | the targets of its commands |
/// | `key` | type with `Display`, `FromStr` and `Eq` | none: the stream | the key of an event: events of one key are handled in order |
/// | `concurrency` | whole number from 1 on, or path of a `usize` constant | `16` | the number of keys that it handles at a time |
/// | `timeout` | time such as `"500ms"`, `"30s"`, `"5m"` or `"2h"`, or path of a `Duration` constant | `"30s"` | the longest time of one call |
/// | `on_failure` | no value | not given | it decides on failures itself, in an `impl HandlerPolicy` |
/// | `start` | `"origin"` (also `"beginning"`) or `"now"` | `"origin"` | its starting point in a store that does not know it: the first event, or after the last |
/// | `name` | string, or path of a `&'static str` constant | `"mailer"` (kebab-case) | the stored name |
/// | `envelope` | identifier | `MailerEnvelope` | the generated enum |
/// | `crate` | path | `::eventfold_es` | the path of this crate, if it was renamed or is re-exported |
///
/// The commands of its targets are `Clone + Serialize + Deserialize`, because a rejected command is kept. The name is persisted: under
/// another name it starts at its starting point again.
///
/// # Requirements
///
/// - `impl Handle<A>` for each aggregate `A` in `subscribes`. Its `handle` is an `async fn` whose future is `Send`: it holds no `Rc`
///   and no guard of a `std::sync::Mutex` across an `.await`;
/// - with `key`, `impl HandleKey<A>` for each of these aggregates;
/// - with `on_failure`, `impl HandlerPolicy`.
///
/// A missing or undeclared impl does not compile.
///
/// # Generated items
///
/// - `impl EventHandler`, which finds the handler of an event by the stored name of its aggregate type;
/// - `enum MailerEnvelope`, as visible as the type, with `impl Dispatch`, `Clone` and `Debug`. It has one variant per entry of
///   `dispatches`, named like the last segment of its path. Distinguish equal names with `use … as …`;
/// - markers, from which `SubscribesTo<Order>` follows, and `impl HandlerDispatchesTo<Order>` for the type. So an undeclared handler or
///   command does not compile. Likewise `HandlerKeyed` and `FailurePolicy` for `key` and `on_failure`;
/// - assertions that no two entries of a list have the same stored name.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
///
/// use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum OrderCommand { NoteMail { receipt: String } }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Shipped { email: String } }
/// # #[aggregate(error = Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
/// # struct SmtpClient;
/// # impl SmtpClient {
/// #     async fn send(&self, email: &str, key: &str) -> Result<String, Infallible> { Ok(format!("{key} to {email}")) }
/// # }
///
/// #[event_handler(subscribes = [Order], dispatches = [Order], timeout = "10s")]
/// pub struct Mailer { smtp: SmtpClient }
///
/// impl Handle<Order> for Mailer {
///     type Error = Infallible;
///
///     async fn handle(&self, event: &OrderEvent, cx: &mut Handling<'_, Self>) -> Result<(), Infallible> {
///         let OrderEvent::Shipped { email } = event;
///         let receipt = self.smtp.send(email, cx.idempotency_key()).await?;
///         cx.send(cx.stream_id(), OrderCommand::NoteMail { receipt });
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mailer = Mailer { smtp: SmtpClient };
/// let shipped = OrderEvent::Shipped { email: "a@example.org".to_owned() }.to_event()?;
/// let shipped = RecordedEvent::new(1, 1, shipped);
/// let mut cx = Handling::new("order", "ord-1", &shipped);
/// mailer.handle_event(&mut cx).await?;
/// assert!(matches!(
///     cx.envelopes(),
///     [MailerEnvelope::Order(envelope)] if envelope.instance_id == "ord-1"
/// ));
/// # Ok(())
/// # }
/// ```
#[proc_macro_attribute]
pub fn event_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    event_handler::event_handler(arguments.into(), item.into()).into()
}

/// Declares a schedule: recurring work, by a cron expression in a time zone. It makes the type an aggregate, whose events are
/// `Occurrence`s. Process managers, event handlers and projections subscribe to it.
///
/// It goes on a struct without fields, and stores the last occurrence in it. It needs the feature `schedules`.
///
/// # Arguments
///
/// The defaults are for a type `Nightly`.
///
/// | argument | value | default | meaning |
/// |---|---|---|---|
/// | `cron` | string, or path of a `&str` constant | required | the times: minute, hour, day of the month, month, day of the week; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly` |
/// | `time_zone` | string, or path of a `&str` constant | `"UTC"` | the name of a time zone of the IANA database, such as `Europe/Berlin` |
/// | `missed` | `"once"`, `"all"` or `"none"` | `"once"` | the occurrences that are recorded although they became due while the program was away: the latest for all of them, each of them, or none |
/// | `name` | string, or path of a `&'static str` constant | `"nightly"` (kebab-case) | the stored name, and the id of its only stream |
/// | `crate` | path | `::eventfold_es` | the path of this crate, if it was renamed or is re-exported |
///
/// Literals are checked when the program is compiled, and constants when a store is opened. The name is persisted: another name is a new
/// schedule.
///
/// # Generated items
///
/// - The struct with a private field for its last occurrence, and `Clone`, `Default`, `Serialize` and `Deserialize`;
/// - `impl Aggregate`, with the event `Occurrence`, the command `contract::Due` and the error `contract::NotDue`;
/// - `impl Schedule`, with the timetable.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
///
/// /// Two in the morning in Berlin.
/// #[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin", missed = "once")]
/// pub struct Nightly;
///
/// assert_eq!(Nightly::AGGREGATE_TYPE, "nightly");
/// assert_eq!(Nightly::timetable()?.time_zone(), "Europe/Berlin");
/// # Ok::<(), eventfold_es::TimetableError>(())
/// ```
#[proc_macro_attribute]
pub fn schedule(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if cfg!(feature = "schedules") {
        schedule::schedule(arguments.into(), item.into()).into()
    } else {
        schedule::without_the_feature(&item.into()).into()
    }
}

/// Declares a projection: a read model of the events of its aggregates.
///
/// It goes on a struct or an enum without parameters. The arguments decide where its state is:
///
/// | state | declared as | you implement | derives |
/// |---|---|---|---|
/// | one value in memory | `subscribes = [Order]` | `Project<A>` | `Default`, `Clone`, `Serialize`, `Deserialize` |
/// | the rows of the store, one for each key | `.., key = CustomerId` | `Locate<A>`, `Project<A>` | `Default`, `Serialize`, `Deserialize` |
/// | your database | `.., sink = Sqlite` | `Prepare`, `ProjectInto<A>` | none |
///
/// Each handler is implemented for each subscribed aggregate `A`.
///
/// # Arguments
///
/// The defaults are for a type `Sales`.
///
/// | argument | value | default | meaning |
/// |---|---|---|---|
/// | `subscribes` | `[Order, ..]` | required | the aggregates of the handled events |
/// | `key` | type with `Ord`, `Serialize` and `Deserialize` | none: one value in memory | the key of its rows |
/// | `sink` | type that implements `Sink` | none: one value in memory | the database that it writes to; not together with `key` |
/// | `version` | whole number from 1 on, or path of a `u32` constant | `1` | raise it when the rows or tables change their meaning: they are made again; only with `key` or `sink` |
/// | `on_failure` | `"retry"`, `"skip"` or `"stop"` | `"retry"` | the action for an event that it cannot project; only with `key` or `sink` |
/// | `name` | string, or path of a `&'static str` constant | `"sales"` (kebab-case) | the stored name |
/// | `unknown_events` | `"stop"` or `"skip"` | `"stop"` | the policy for events of a newer program: wait for that program, or continue without them and be rebuilt by it |
/// | `crate` | path | `::eventfold_es` | the path of this crate, if it was renamed or is re-exported |
///
/// The name is persisted: under another name the projection is rebuilt.
///
/// `#[index]` on a field of a row keeps an index over its values. It generates a constant with the name of the field in
/// capitals: the index of `city` is `CustomerOrders::CITY`. If your type already has a constant of that name, rustc reports E0592.
///
/// # Generated items
///
/// - `impl Projection`, or with `key` and `sink` an `impl SinkProjection`, which finds the handler of an event by the stored name
///   of its aggregate type; with `key` also `impl RowProjection`;
/// - markers, from which `SubscribesTo<Order>`, `DeclaredRows` and `DeclaredSink` follow. So a missing or undeclared handler does
///   not compile;
/// - an assertion that no two entries have the same stored name.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum OrderCommand { Confirm }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed { qty: u32 } }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
///
/// #[projection(subscribes = [Order])]
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// pub struct Sales { units: u64 }
///
/// impl Project<Order> for Sales {
///     fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
///         let OrderEvent::Placed { qty } = event;
///         self.units += u64::from(*qty);
///     }
/// }
///
/// let mut sales = Sales::default();
/// let placed = OrderEvent::Placed { qty: 2 }.to_event()?;
/// sales.apply("order", "ord-1", &RecordedEvent::new(1, 1, placed))?;
/// assert_eq!(sales.units, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[proc_macro_attribute]
pub fn projection(arguments: TokenStream, item: TokenStream) -> TokenStream {
    projection::projection(arguments.into(), item.into()).into()
}

/// Declares a whole store, checks it, and draws it without opening it.
///
/// It goes on a unit struct.
///
/// # Arguments
///
/// | argument | value | default | meaning |
/// |---|---|---|---|
/// | `aggregates` | `[Order, ..]` | required | its aggregates |
/// | `process_managers` | `[ReservationSaga, ..]` | `[]` | its process managers |
/// | `event_handlers` | `[Mailer, ..]` | `[]` | its event handlers, whose values the builder takes |
/// | `schedules` | `[Nightly, ..]` | `[]` | its schedules; with schedules, `aggregates` may be missing |
/// | `projections` | `[Sales, ..]` | `[]` | its projections |
/// | `crate` | path | `::eventfold_es` | the path of this crate, if it was renamed or is re-exported |
///
/// # Generated items
///
/// Each item is as visible as the struct:
///
/// - `Shop::builder(dir)`, an `AggregateStoreBuilder` with every part registered, for further settings. Aggregates
///   whose commands are `Clone + Serialize + Deserialize` are also targets of erased envelopes;
/// - `Shop::open(dir)`, which opens it with the defaults, and with one more argument for each event handler;
/// - `Shop::topology()`, a constant that renders to Mermaid, to Graphviz and to JSON;
/// - `Shop::schema()`, the stored shapes of its events, states and rows, for the lock that detects their changes.
///
/// With `event_handlers = [Mailer, Billing]` the builder awaits their values, in this order:
/// `Shop::builder(dir).event_handler(Mailer { smtp }).event_handler(Billing { client }).open()`. A missing one does not compile.
///
/// Some mistakes do not compile, with an error at the wrong entry:
///
/// - A process manager, an event handler or a projection needs an unlisted aggregate.
/// - Two aggregates, two process managers or event handlers, or two projections share a stored name. Upper and lower case
///   count as the same, since names are directories.
/// - An aggregate decides the commands that are sent to another aggregate by their type.
///
/// A hand-written process manager or projection is checked if it sets its constants `SUBSCRIPTIONS` and `TARGETS`.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// # use std::convert::Infallible;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum OrderCommand { Place }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed }
/// # #[aggregate(error = Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> { Ok(vec![OrderEvent::Placed]) }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum InventoryCommand { Reserve }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum InventoryEvent { Reserved }
/// # #[aggregate(error = Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Inventory { reserved: u64 }
/// # impl Decider for Inventory {
/// #     fn decide(&self, _: InventoryCommand) -> Result<Vec<InventoryEvent>, Infallible> { Ok(vec![InventoryEvent::Reserved]) }
/// #     fn evolve(&mut self, _: &InventoryEvent) { self.reserved += 1; }
/// # }
/// # #[process_manager(subscribes = [Order], dispatches = [Inventory])]
/// # #[derive(Debug, Default, Serialize, Deserialize)]
/// # pub struct ReservationSaga;
/// # impl React<Order> for ReservationSaga {
/// #     fn react(&mut self, _: &OrderEvent, cx: &mut Reaction<'_, Self>) { cx.send("inv-1", InventoryCommand::Reserve); }
/// # }
/// # #[projection(subscribes = [Order])]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Sales { orders: u64 }
/// # impl Project<Order> for Sales {
/// #     fn project(&mut self, _: &OrderEvent, _: &EventContext<'_>) { self.orders += 1; }
/// # }
///
/// /// Everything there is.
/// #[event_store(
///     aggregates = [Order, Inventory],
///     process_managers = [ReservationSaga],
///     projections = [Sales],
/// )]
/// pub struct Shop;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// let store = Shop::open(directory.path()).await?;
/// store.send("ord-1", OrderCommand::Place, ()).await?;
/// assert_eq!(store.projection::<Sales>().await?.orders, 1);
///
/// println!("{}", Shop::topology().to_mermaid());
/// # assert_eq!(Shop::topology().edges().count(), 3);
/// # Ok(())
/// # }
/// ```
#[proc_macro_attribute]
pub fn event_store(arguments: TokenStream, item: TokenStream) -> TokenStream {
    event_store::event_store(arguments.into(), item.into()).into()
}

/// Implements `DomainEvent` for an enum, from its `#[serde(..)]` attributes.
///
/// The enum has no parameters, is `Clone`, `Serialize` and `Deserialize`, and has `#[serde(tag = "type", content = "data")]`,
/// which is the stored form of an event.
///
/// # Attributes
///
/// - `rename_all` (each of serde's cases), `rename` and `alias` name the events as they do for serde. So the stored
///   names are known at compile time. An event must be read under its written name, and no two events may share a name.
/// - An attribute that loses a part of an event is an error: `skip`, `skip_serializing` and `skip_deserializing` on
///   variants and fields, `other` and `untagged` on variants, `skip_serializing_if` without `default`, and other
///   representations.
/// - `#[event(version = 2, upcast_from(1 => PlacedV1))]` on a variant names the earlier shape of its data. `PlacedV1`
///   is `Deserialize`, and becomes the event by `impl Upcast<OrderEvent> for PlacedV1`. With more versions, each
///   version but the last becomes the next. For example, `upcast_from(1 => PlacedV1, 2 => PlacedV2)` needs
///   `Upcast<PlacedV2>` for `PlacedV1`. Every version must be listed exactly once. The version of an event is stored in
///   its `meta` if it is above 1.
/// - `#[event(retired)]` on a variant: the event is read, and no longer written.
/// - `#[domain_event(crate = my_crate::eventfold_es)]` is the path of the crate, if it was renamed or is re-exported.
///
/// `EVENT_TYPES` are the names, `SCHEMAS` their stored shapes, `UPCASTERS` the steps from older versions.
///
/// The names are persisted. When you rename a variant, keep its old name: as the stored name with `rename`, or readable
/// with `alias`.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data", rename_all = "snake_case")]
/// enum OrderEvent {
///     OrderPlaced { qty: u32 },
///     #[serde(rename = "confirmed", alias = "approved")]
///     Confirmed,
/// }
///
/// assert_eq!(OrderEvent::EVENT_TYPES, ["order_placed", "confirmed", "approved"]);
/// assert_eq!(OrderEvent::Confirmed.event_type(), "confirmed");
/// ```
#[proc_macro_derive(DomainEvent, attributes(serde, domain_event, event))]
pub fn domain_event(item: TokenStream) -> TokenStream {
    domain_event::domain_event(item.into()).into()
}

/// Describes the stored shape of a type, so that the lock of stored shapes detects changes inside of it.
///
/// It goes on types in the fields of events and states, on the older shapes of events (`upcast_from`), and on the messages of
/// deadlines. It reads serde's attributes and needs nothing else. A type without it has only its name in the lock.
///
/// It implements `StoredShape`, with a constant that is evaluated at its first use.
///
/// `#[stored_shape(crate = my_crate::eventfold_es)]` is the path of this crate, if it was renamed or is re-exported.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
///
/// #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
/// pub struct Line { sku: String, qty: u32 }
///
/// #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data")]
/// pub enum OrderEvent { Placed { lines: Vec<Line> } }
///
/// let eventfold_es::schema::Shape::Struct([lines]) = OrderEvent::SCHEMAS[0].shape else { panic!() };
/// assert_eq!(lines.types[0].name, "Line");
/// assert_eq!(lines.types[0].shape(), Line::SHAPE);
/// ```
#[proc_macro_derive(StoredShape, attributes(serde, stored_shape))]
pub fn stored_shape(item: TokenStream) -> TokenStream {
    stored_shape::stored_shape(item.into()).into()
}

/// Not a derive: declare an aggregate with [`macro@aggregate`]. The error says so.
#[doc(hidden)]
#[proc_macro_derive(Aggregate)]
pub fn derive_aggregate(item: TokenStream) -> TokenStream {
    not_derives::aggregate(item.into()).into()
}

/// Not a derive: declare a process manager with [`macro@process_manager`]. The error says so.
#[doc(hidden)]
#[proc_macro_derive(ProcessManager)]
pub fn derive_process_manager(item: TokenStream) -> TokenStream {
    not_derives::process_manager(item.into()).into()
}

/// Not a derive: declare an event handler with [`macro@event_handler`]. The error says so.
#[doc(hidden)]
#[proc_macro_derive(EventHandler)]
pub fn derive_event_handler(item: TokenStream) -> TokenStream {
    not_derives::event_handler(item.into()).into()
}

/// Not a derive: declare a projection with [`macro@projection`]. The error says so.
#[doc(hidden)]
#[proc_macro_derive(Projection)]
pub fn derive_projection(item: TokenStream) -> TokenStream {
    not_derives::projection(item.into()).into()
}

/// Not a derive: [`macro@aggregate`] makes a type a command by naming it. The error says so.
#[doc(hidden)]
#[proc_macro_derive(Command)]
pub fn derive_command(_item: TokenStream) -> TokenStream {
    not_derives::command().into()
}
