//! Tests of the form: given events, then a database.

use std::fmt;

use super::given::Given;
use crate::aggregate::Aggregate;
use crate::event::StoredEvent;
use crate::projection::{Sink, SinkProjection};

/// A test of the projection `P` into a sink: [`given`](SinkTest::given) events, [`then`](SinkTest::then) a database.
///
/// Each event has a transaction of its own, as an event of a live store may have. The first event follows `prepare`.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use eventfold_es::Sqlite;
/// use eventfold_es::prelude::*;
/// use eventfold_es::rusqlite::{self, Transaction, params};
/// use eventfold_es::testing;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum OrderCommand {}
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed { cents: i64 } }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> { match command {} }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
///
/// #[projection(subscribes = [Order], sink = Sqlite)]
/// pub struct Prices;
///
/// impl Prepare for Prices {
///     fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
///         tx.execute_batch("CREATE TABLE prices (id TEXT PRIMARY KEY, cents INTEGER NOT NULL)")
///     }
/// }
///
/// impl ProjectInto<Order> for Prices {
///     fn project(event: &OrderEvent, cx: &EventContext<'_>, tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
///         let OrderEvent::Placed { cents } = event;
///         tx.execute("INSERT INTO prices VALUES (?1, ?2)", params![cx.stream_id(), cents])?;
///         Ok(())
///     }
/// }
///
/// let directory = tempfile::tempdir()?;
/// testing::sink::<Prices>(Sqlite::file(directory.path().join("prices.db")))
///     .given::<Order>("ord-1", OrderEvent::Placed { cents: 500 })
///     .given::<Order>("ord-2", OrderEvent::Placed { cents: 700 })
///     .then(|tx| {
///         let sum: i64 = tx.query_row("SELECT sum(cents) FROM prices", [], |row| row.get(0)).unwrap();
///         assert_eq!(sum, 1_200);
///     });
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// ```
pub struct SinkTest<P: SinkProjection> {
    connection: <P::Sink as Sink>::Connection,
    given: Given,
}

impl<P: SinkProjection> fmt::Debug for SinkTest<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkTest")
            .field("projection", &P::NAME)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

/// A test of the projection `P` into this sink, whose tables are prepared and empty.
///
/// # Panics
///
/// If the sink cannot be used, or `prepare` fails.
#[must_use = "a test says what it expects with `then(..)`"]
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "as for the builder")]
pub fn sink<P: SinkProjection>(sink: P::Sink) -> SinkTest<P> {
    let connection = match sink.connect() {
        Ok(connection) => connection,
        Err(error) => panic!("the sink of `{}` does not connect: {error}", P::NAME),
    };
    let mut test = SinkTest {
        connection,
        given: Given::default(),
    };
    test.transact(&mut |tx| P::prepare(tx).map_err(|error| format!("`prepare` fails: {error}")));
    test
}

impl<P: SinkProjection> SinkTest<P> {
    /// Given `event` of the instance `stream_id` of `A`, after the earlier events.
    ///
    /// # Panics
    ///
    /// If the projection does not subscribe to `A`, or cannot project the event.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn given<A: Aggregate>(
        mut self,
        stream_id: impl Into<String>,
        event: A::DomainEvent,
    ) -> Self {
        let stream_id = stream_id.into();
        let given = &mut self.given;
        let event = given.next::<A>(P::NAME, P::SUBSCRIPTIONS, &stream_id, &event);
        self.transact(&mut |tx| {
            let applied = P::apply(A::AGGREGATE_TYPE, &stream_id, &StoredEvent::of(&event), tx);
            applied.map_err(|error| format!("the event cannot be projected: {error}"))
        });
        self
    }

    /// Calls `check` with a transaction, which reads what the projection has written. It is rolled back.
    ///
    /// # Panics
    ///
    /// If `check` panics, or the sink cannot be used.
    #[track_caller]
    pub fn then(mut self, check: impl FnOnce(&mut <P::Sink as Sink>::Tx<'_>)) -> Self {
        let mut check = Some(check);
        let read = P::Sink::transact(&mut self.connection, P::NAME, &mut |tx, _| {
            if let Some(check) = check.take() {
                check(tx);
            }
            None
        });
        if let Err(error) = read {
            panic!("the sink of `{}` cannot be read: {error}", P::NAME);
        }
        self
    }

    #[track_caller]
    fn transact(&mut self, work: &mut Work<'_, P>) {
        let mut failure = None;
        let done = P::Sink::transact(&mut self.connection, P::NAME, &mut |tx, _| match work(tx) {
            Ok(()) => Some("{}".to_owned()),
            Err(reason) => {
                failure = Some(reason);
                None
            }
        });
        if let Some(failure) = failure.or(done.err().map(|error| error.to_string())) {
            panic!("the projection `{}` fails: {failure}", P::NAME);
        }
    }
}

type Work<'a, P> =
    dyn FnMut(&mut <<P as SinkProjection>::Sink as Sink>::Tx<'_>) -> Result<(), String> + 'a;
