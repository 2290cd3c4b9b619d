//! The rows of a projection with `key`.

use std::any::{TypeId, type_name};
use std::borrow::Borrow;
use std::fmt;
use std::ops::RangeBounds;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use super::AggregateStore;
use crate::error::StoreError;
use crate::guarded::{blocking, guard};
use crate::projection::{Index, RowProjection};
use crate::rows::{EncodeError, Query, RowTable, RowsError, prefix_of_text};
use crate::short;

/// The rows of a projection. Made by [`AggregateStore::rows`].
///
/// The rows follow the events by themselves, some milliseconds behind. After
/// [`wait_for`](AggregateStore::wait_for) they have the events of your own command. Each call reads one state of all rows,
/// between two transactions.
///
/// # Errors
///
/// [`StoreError::Rows`] if a row does not decode, or a key has no stored form. [`StoreError::Damaged`] or
/// [`StoreError::File`] if the file of the rows cannot be read. [`StoreError::Closed`] if the store is closed.
///
/// # Cancel safety
///
/// All calls are cancel safe; they change nothing.
pub struct Rows<P: RowProjection> {
    table: Arc<RowTable<P>>,
    closing: watch::Receiver<bool>,
}

impl<P: RowProjection> Clone for Rows<P> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
            closing: self.closing.clone(),
        }
    }
}

impl<P: RowProjection> fmt::Debug for Rows<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("projection", &P::NAME)
            .finish_non_exhaustive()
    }
}

/// A selection of rows: a range of keys or of the values of an index.
///
/// Nothing is read before [`collect`](Self::collect), [`page`](Self::page) or [`count`](Self::count). Rows are in the order
/// of their keys; in an index, in the order of its values, and of keys among equal values.
#[must_use = "a selection reads nothing before `collect`, `page` or `count`"]
pub struct RowQuery<P: RowProjection> {
    rows: Rows<P>,
    query: Result<Query, RowsError>,
    after: Option<PageToken>,
}

impl<P: RowProjection> fmt::Debug for RowQuery<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowQuery")
            .field("projection", &P::NAME)
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

/// A page of rows.
#[non_exhaustive]
pub struct Page<P: RowProjection> {
    /// The rows, each with its key.
    pub rows: Vec<(P::Key, P)>,
    /// The place of the next page; none if this is the last page.
    pub next: Option<PageToken>,
}

impl<P: RowProjection + fmt::Debug> fmt::Debug for Page<P>
where
    P::Key: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("rows", &self.rows)
            .field("next", &self.next)
            .finish()
    }
}

/// The place between two rows. Its text has only hexadecimal digits, and fits into a URL. It stays valid while rows change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageToken {
    place: Vec<u8>,
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no [`PageToken`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no page token: pass the text of `Page::next` on unchanged")]
pub struct InvalidPageToken(String);

impl FromStr for PageToken {
    type Err = InvalidPageToken;

    fn from_str(text: &str) -> Result<Self, InvalidPageToken> {
        let pairs = text.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            let is_hex = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            u8::from_str_radix(pair, 16).ok().filter(|_| is_hex)
        });
        // Without a place it would be the first page again.
        let place = bytes.collect::<Option<Vec<_>>>();
        let place = place.filter(|place| !place.is_empty());
        let invalid = || InvalidPageToken(short::id(text));
        Ok(Self {
            place: place.ok_or_else(invalid)?,
        })
    }
}

impl AggregateStore {
    /// The rows of a projection with `key`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it, and [`StoreError::ReadOnly`] on a read-only file
    /// system, where no rows are made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum OrderCommand { Place { customer: String, cents: u64 } }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum OrderEvent { Placed { customer: String, cents: u64 } }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Order;
    /// # impl Decider for Order {
    /// #     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> {
    /// #         let OrderCommand::Place { customer, cents } = command;
    /// #         Ok(vec![OrderEvent::Placed { customer, cents }])
    /// #     }
    /// #     fn evolve(&mut self, _: &OrderEvent) {}
    /// # }
    /// use std::time::Duration;
    ///
    /// /// One row for each customer.
    /// #[projection(subscribes = [Order], key = String)]
    /// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// pub struct Customers {
    ///     orders: u32,
    ///     #[index]
    ///     cents: u64,
    /// }
    ///
    /// impl Locate<Order> for Customers {
    ///     fn locate(event: &OrderEvent, _cx: &EventContext<'_>) -> Keys<String> {
    ///         let OrderEvent::Placed { customer, .. } = event;
    ///         Keys::one(customer.clone())
    ///     }
    /// }
    ///
    /// impl Project<Order> for Customers {
    ///     fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
    ///         let OrderEvent::Placed { cents, .. } = event;
    ///         self.orders += 1;
    ///         self.cents += cents;
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = AggregateStore::builder(directory.path()).projection::<Customers>().open().await?;
    /// for (order, customer, cents) in [("1", "Ann", 500), ("2", "Ben", 900), ("3", "Ann", 700)] {
    ///     let place = OrderCommand::Place { customer: customer.into(), cents };
    ///     store.send(order, place, ()).await?;
    /// }
    /// store.wait_for::<Customers>(3, Duration::from_secs(5)).await?;
    ///
    /// let customers = store.rows::<Customers>()?;
    /// let ann = customers.get("Ann").await?.unwrap();
    /// assert_eq!((ann.orders, ann.cents), (2, 1_200));
    ///
    /// let best = customers.by_range(Customers::CENTS, ..).backwards().limit(10).collect().await?;
    /// assert_eq!(best[0].0, "Ann");
    /// assert_eq!(customers.all().count().await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rows<P: RowProjection>(&self) -> Result<Rows<P>, StoreError> {
        let not_registered = || StoreError::NotRegistered {
            type_name: type_name::<P>(),
            method: "projection",
        };
        let registered = self.shared.projections.get(&TypeId::of::<P>());
        let registered = registered.ok_or_else(not_registered)?;
        let state = registered.state.clone().ok_or_else(|| {
            match self.shared.runtime.journal.read_only() {
                Some(reason) => StoreError::ReadOnly {
                    reason: format!(
                        "{reason}; so `{}` has no rows: copy the directory to a disk that can be written, and open the copy",
                        P::NAME
                    )
                    .into(),
                },
                None => not_registered(),
            }
        })?;
        let table = state.downcast().map_err(|_| not_registered())?;
        Ok(Rows {
            table,
            closing: self.shared.closing.clone(),
        })
    }
}

impl<P: RowProjection> Rows<P> {
    /// The row of a key; none if there is no row.
    ///
    /// It takes a few microseconds if the row is in memory. It reads on the thread of the caller: at most one page of 4 KiB
    /// for each level of the table, which is three pages for a million rows. A change of threads would take longer than the
    /// usual read.
    pub async fn get<Q>(&self, key: &Q) -> Result<Option<P>, StoreError>
    where
        P::Key: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.open()?;
        let row = self.table.get(key)?;
        Ok(row.map(crate::guarded::Kept::into_inner))
    }

    /// All rows.
    pub fn all(&self) -> RowQuery<P> {
        self.query(Ok(Query::all()))
    }

    /// The rows with keys in a range, as in [`BTreeMap::range`](std::collections::BTreeMap::range): `rows.range(10..20)`. An
    /// empty or reversed range has no rows.
    pub fn range<Q, R>(&self, range: R) -> RowQuery<P>
    where
        P::Key: Borrow<Q>,
        Q: Serialize + ?Sized,
        R: RangeBounds<Q>,
    {
        self.query(guarded::<P>(|| Query::range::<Q>(None, &range)))
    }

    /// The rows whose keys begin with a text. A key is a `String`, or a tuple or struct whose first field is a `String`.
    pub fn prefix(&self, text: &str) -> RowQuery<P> {
        self.query(Ok(Query::prefix(prefix_of_text(text))))
    }

    /// The rows with this value of an index.
    pub fn by<V, Q>(&self, index: Index<P, V>, value: &Q) -> RowQuery<P>
    where
        V: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.query(guarded::<P>(|| Query::by(index.name(), value)))
    }

    /// The rows with values of an index in a range. `..` is all rows in the order of the index.
    pub fn by_range<V, R>(&self, index: Index<P, V>, range: R) -> RowQuery<P>
    where
        V: Serialize,
        R: RangeBounds<V>,
    {
        self.query(guarded::<P>(|| {
            Query::range::<V>(Some(index.name()), &range)
        }))
    }

    fn query(&self, query: Result<Query, RowsError>) -> RowQuery<P> {
        RowQuery {
            rows: self.clone(),
            query,
            after: None,
        }
    }

    fn open(&self) -> Result<(), StoreError> {
        match *self.closing.borrow() {
            true => Err(StoreError::Closed),
            false => Ok(()),
        }
    }
}

/// Encodes keys, which is code of the user.
fn guarded<P: RowProjection>(
    encode: impl FnOnce() -> Result<Query, EncodeError>,
) -> Result<Query, RowsError> {
    let what = || format!("the encoding of a key of `{}`", P::NAME);
    Ok(guard(what, encode)??)
}

impl<P: RowProjection> RowQuery<P> {
    /// Begins with the last row.
    pub fn backwards(mut self) -> Self {
        if let Ok(query) = &mut self.query {
            query.is_backwards = true;
        }
        self
    }

    /// Reads at most this number of rows. Default: no limit.
    pub fn limit(mut self, rows: usize) -> Self {
        if let Ok(query) = &mut self.query {
            query.limit = rows;
        }
        self
    }

    /// Begins behind the last row of an earlier page of the same selection; with `None`, at its beginning.
    pub fn after(mut self, page: impl Into<Option<PageToken>>) -> Self {
        self.after = page.into();
        self
    }

    /// The rows, each with its key. They are in memory as a whole, so set a [`limit`](Self::limit) for a large selection.
    ///
    /// # Errors
    ///
    /// As [`Rows`].
    pub async fn collect(self) -> Result<Vec<(P::Key, P)>, StoreError> {
        Ok(self.page().await?.rows)
    }

    /// The rows, and the place of the next page.
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # use eventfold_es::contract::RowProjection;
    /// # use eventfold_es::store::{Page, PageToken};
    /// # async fn page<P: RowProjection>(store: AggregateStore, query: Option<&str>) -> Result<Page<P>, Box<dyn std::error::Error>> {
    /// let token: Option<PageToken> = query.map(str::parse).transpose()?;
    /// let page = store.rows::<P>()?.all().limit(50).after(token).page().await?;
    /// let next = page.next.as_ref().map(ToString::to_string);
    /// # Ok(page)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Rows`].
    pub async fn page(self) -> Result<Page<P>, StoreError> {
        self.rows.open()?;
        let mut query = self.query?;
        if let Some(token) = self.after {
            query.begin_behind(token.place);
        }
        let table = self.rows.table;
        let what = || format!("reading the rows of `{}`", P::NAME);
        let find = move || {
            let found = table.find(&query)?;
            let rows = found.rows.into_iter();
            Ok(Page {
                rows: rows.map(|(key, row)| (key, row.into_inner())).collect(),
                next: found.next.map(|place| PageToken { place }),
            })
        };
        blocking(what, find).await
    }

    /// The number of rows. All rows of a projection are counted at once; a part is counted row by row, 1,000,000 in about
    /// 100 ms. The limit does not matter.
    ///
    /// # Errors
    ///
    /// As [`Rows`].
    pub async fn count(self) -> Result<u64, StoreError> {
        self.rows.open()?;
        let mut query = self.query?;
        query.limit = usize::MAX;
        let table = self.rows.table;
        let what = || format!("counting the rows of `{}`", P::NAME);
        blocking(what, move || Ok(table.count(&query)?)).await
    }
}
