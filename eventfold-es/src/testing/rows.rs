//! Tests of the form: given events, then rows.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::diff::assert_same;
use super::print::printed_value;
use super::sink::{SinkTest, sink};
use crate::aggregate::Aggregate;
use crate::guarded::Kept;
use crate::projection::{Index, RowProjection};
use crate::rows::{EncodeError, Query, RowSink, RowTable, RowsError};

/// A test of the projection `P` with rows: [`given`](RowsTest::given) events, [`then`](RowsTest::then) rows.
///
/// It stores the rows and their indexes after each event, and reads them back, with the code of a store.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::testing;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum OrderCommand {}
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed { customer: String, cents: u64 } }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> { match command {} }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
///
/// #[projection(subscribes = [Order], key = String)]
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// pub struct Customer { orders: u32, #[index] cents: u64 }
///
/// impl Locate<Order> for Customer {
///     fn locate(event: &OrderEvent, _cx: &EventContext<'_>) -> Keys<String> {
///         let OrderEvent::Placed { customer, .. } = event;
///         Keys::one(customer.clone())
///     }
/// }
///
/// impl Project<Order> for Customer {
///     fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
///         let OrderEvent::Placed { cents, .. } = event;
///         self.orders += 1;
///         self.cents += cents;
///     }
/// }
///
/// testing::rows::<Customer>()
///     .given::<Order>("1", OrderEvent::Placed { customer: "Ann".into(), cents: 500 })
///     .given::<Order>("2", OrderEvent::Placed { customer: "Ben".into(), cents: 900 })
///     .given::<Order>("3", OrderEvent::Placed { customer: "Ann".into(), cents: 200 })
///     .then([
///         ("Ann".into(), Customer { orders: 2, cents: 700 }),
///         ("Ben".into(), Customer { orders: 1, cents: 900 }),
///     ])
///     .then_by(Customer::CENTS, &700_u64, ["Ann".into()])
///     .then_by(Customer::CENTS, &500_u64, []);
/// ```
pub struct RowsTest<P: RowProjection> {
    table: Arc<RowTable<P>>,
    sink: SinkTest<P>,
}

impl<P: RowProjection> fmt::Debug for RowsTest<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowsTest")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// A test of the projection `P`, without rows.
///
/// # Panics
///
/// If there is no memory for the rows.
#[must_use = "a test says what it expects with `then(..)`"]
#[track_caller]
pub fn rows<P: RowProjection>() -> RowsTest<P> {
    let table = match RowTable::in_memory() {
        Ok(table) => Arc::new(table),
        Err(error) => panic!("there are no rows in memory: {error}"),
    };
    RowsTest {
        sink: sink(RowSink::new(Arc::clone(&table))),
        table,
    }
}

impl<P: RowProjection> RowsTest<P> {
    /// Given `event` of the instance `stream_id` of `A`, after the earlier events.
    ///
    /// # Panics
    ///
    /// If the projection does not subscribe to `A` or cannot project the event, or a row cannot be stored.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn given<A: Aggregate>(
        mut self,
        stream_id: impl Into<String>,
        event: A::DomainEvent,
    ) -> Self {
        self.sink = self.sink.given::<A>(stream_id, event);
        self
    }

    /// Expects these rows and no others, in the order of their keys. It compares the stored form.
    ///
    /// # Panics
    ///
    /// If they differ; the message shows the difference.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = (P::Key, P)>) -> Self {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_same(
            &format!("the rows of `{}` are not as expected", P::NAME),
            &printed_value(&expected),
            &printed_value(&self.find(Ok(Query::all()))),
        );
        self
    }

    /// Expects these keys for a value of an index, in the order of the keys.
    ///
    /// # Panics
    ///
    /// If they differ; the message shows the difference.
    #[track_caller]
    pub fn then_by<V, Q>(
        self,
        index: Index<P, V>,
        value: &Q,
        expected: impl IntoIterator<Item = P::Key>,
    ) -> Self
    where
        V: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let found = self.find(Query::by(index.name(), value)).into_iter();
        let found: Vec<_> = found.map(|(key, _)| key).collect();
        let expected: Vec<_> = expected.into_iter().collect();
        assert_same(
            &format!("the index `{}` is not as expected", index.name()),
            &printed_value(&expected),
            &printed_value(&found),
        );
        self
    }

    /// The row of a key; none if there is no row.
    ///
    /// # Panics
    ///
    /// If the row does not read back.
    #[must_use]
    #[track_caller]
    pub fn row<Q>(&self, key: &Q) -> Option<P>
    where
        P::Key: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        match self.table.get(key) {
            Ok(row) => row.map(Kept::into_inner),
            Err(error) => panic!("the row does not read back: {error}"),
        }
    }

    #[track_caller]
    fn find(&self, query: Result<Query, EncodeError>) -> Vec<(P::Key, P)> {
        let found = query
            .map_err(RowsError::from)
            .and_then(|query| self.table.find(&query));
        match found {
            Ok(found) => {
                let rows = found.rows.into_iter();
                rows.map(|(key, row)| (key, row.into_inner())).collect()
            }
            Err(error) => panic!("the rows do not read back: {error}"),
        }
    }
}
