//! Projections with one row for each key.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EventContext, SinkProjection};
use crate::aggregate::Aggregate;
use crate::process_manager::SubscribesTo;
use crate::rows::{EncodeError, IndexEntries, RowSink};
use crate::schema::Shape;

/// The key of a row, or the value of an index.
///
/// Implemented for every type with `Ord`, `Serialize` and `Deserialize`: numbers, `String`, tuples, and your own structs and
/// enums with derived traits. Rows are in the order of a derived `Ord`: field by field, and variants in their order.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key or an index of rows",
    label = "it has no stored order",
    note = "put `#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]` on a type of yours; a float has no order, so use whole cents or the like"
)]
pub trait RowKey: Serialize + DeserializeOwned + Ord + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<K: Serialize + DeserializeOwned + Ord + Send + Sync + 'static> RowKey for K {}

/// A projection with one row for each key. The type itself is the row. `#[projection(.., key = ..)]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection with rows",
    label = "it has no rows",
    note = "add `key = ..` to `#[projection(..)]` of `{Self}`, with the type that tells its rows apart; a projection without `key` is read by `store.projection::<{Self}>()`"
)]
pub trait RowProjection:
    SinkProjection<Sink = RowSink<Self>> + Default + Serialize + DeserializeOwned
{
    /// The type of the key.
    type Key: RowKey;

    /// The name of the key's type in the program. With another name the rows are rebuilt, since a stored key may not read
    /// as the new type. The lock of stored shapes has it. Default: empty, unknown.
    const KEY_TYPE: &'static str = "";

    /// The stored names of the indexes. If an index is new or gone, the rows are rebuilt.
    const INDEXES: &'static [&'static str] = &[];

    /// The names of the types of the indexes in the program, in the order of [`INDEXES`](Self::INDEXES). If one is another,
    /// the rows are rebuilt. The lock of stored shapes has them. Default: empty, all unknown.
    const INDEX_TYPES: &'static [&'static str] = &[];

    /// The shape of a row, for the lock of stored shapes. Default: unknown.
    ///
    /// The store does not compare it: raise [`VERSION`](SinkProjection::VERSION) with it.
    const ROW: Shape = Shape::Unknown;

    /// Adds the value of each index of this row, in the order of [`INDEXES`](Self::INDEXES). Default: none.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if a value has no stored order.
    fn index(&self, entries: &mut IndexEntries) -> Result<(), EncodeError> {
        let _ = entries;
        Ok(())
    }
}

/// A type with `#[projection(.., key = ..)]`, which implements this trait. [`Locate`] requires it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared without `key`, so it has no rows",
    label = "there are no rows to tell apart",
    note = "add `key = ..` to `#[projection(..)]` of `{Self}`, with the type that tells its rows apart"
)]
pub trait DeclaredRows {
    /// The type itself.
    type Declared;

    /// The type of the key.
    type Key: RowKey;
}

/// The key of a projection with rows.
pub type RowKeyOf<P> = <P as DeclaredRows>::Key;

/// The rows that the events of one aggregate change. Written by the user of `#[projection(.., key = ..)]`, once for each
/// aggregate in `subscribes`.
///
/// ```
/// # use eventfold_es::prelude::*;
/// # enum OrderEvent { Placed { customer: String }, Printed }
/// use eventfold_es::Keys;
///
/// # struct CustomerOrders;
/// # trait Locate<A> { fn locate(event: &OrderEvent, cx: &EventContext<'_>) -> Keys<String>; }
/// # struct Order;
/// impl Locate<Order> for CustomerOrders {
///     fn locate(event: &OrderEvent, _cx: &EventContext<'_>) -> Keys<String> {
///         match event {
///             OrderEvent::Placed { customer } => Keys::one(customer.clone()),
///             OrderEvent::Printed => Keys::none(),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `key`, but does not say which of its rows the events of `{A}` change",
    label = "`impl Locate<{A}> for {Self}` is missing",
    note = "write `impl Locate<{A}> for {Self} {{ fn locate(event: &.., cx: &EventContext<'_>) -> Keys<..> {{ .. }} }}`, or remove `{A}` from `subscribes`"
)]
pub trait Locate<A: Aggregate>: DeclaredRows<Declared: SubscribesTo<A>> {
    /// The keys of the rows that `event` changes.
    fn locate(event: &<A as Aggregate>::DomainEvent, cx: &EventContext<'_>)
    -> Keys<RowKeyOf<Self>>;
}

/// The keys of the rows that an event changes.
///
/// A row that does not exist yet begins with the default of its type. The handler of an event runs once for each key, in
/// this order. A repeated key counts once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it tells which rows an event changes"]
pub struct Keys<K>(Several<K>);

/// An event usually has one row or none, which needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Several<K> {
    None,
    One(K),
    Each(Vec<K>),
}

impl<K> Keys<K> {
    /// The event changes no row.
    pub const fn none() -> Self {
        Self(Several::None)
    }

    /// The event changes one row.
    pub const fn one(key: K) -> Self {
        Self(Several::One(key))
    }

    /// The event changes each of these rows.
    pub fn each(keys: impl IntoIterator<Item = K>) -> Self {
        Self(Several::Each(keys.into_iter().collect()))
    }
}

impl<K: Eq> IntoIterator for Keys<K> {
    type Item = K;
    type IntoIter = std::vec::IntoIter<K>;

    fn into_iter(self) -> Self::IntoIter {
        let keys = match self.0 {
            Several::None => Vec::new(),
            Several::One(key) => vec![key],
            Several::Each(keys) => keys.into_iter().fold(Vec::new(), |mut distinct, key| {
                if !distinct.contains(&key) {
                    distinct.push(key);
                }
                distinct
            }),
        };
        keys.into_iter()
    }
}

/// An index of a projection with rows, over the values of one field. `#[index]` makes it a constant of the row's type, with
/// the name of the field in capitals.
pub struct Index<P, V> {
    name: &'static str,
    of: PhantomData<fn() -> (P, V)>,
}

impl<P, V> Index<P, V> {
    /// The index with this stored name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            of: PhantomData,
        }
    }

    /// Its stored name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<P, V> Clone for Index<P, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, V> Copy for Index<P, V> {}

impl<P, V> fmt::Debug for Index<P, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Index").field(&self.name).finish()
    }
}
