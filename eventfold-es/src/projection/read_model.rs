//! Projections of all kinds.

use super::Projection;
use crate::schema::Schema;
use crate::store::AggregateStoreBuilder;

/// A projection of any kind: a value in memory, rows, or tables in a database.
///
/// It follows from [`Projection`]. `#[projection(.., key = ..)]` and `#[projection(.., sink = ..)]` implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection",
    label = "not a projection",
    note = "put `#[projection(subscribes = [..])]` on `{Self}`, or implement `Projection` by hand"
)]
pub trait ReadModel: Sized + Send + Sync + 'static {
    /// The stored name.
    const NAME: &'static str;

    /// The stored names of the aggregate types of the projected events, as far as they are known at compile time.
    const SUBSCRIPTIONS: Option<&'static [&'static str]>;

    /// Registers it: with `folded_projection`, `row_projection` or `sink_projection`.
    #[doc(hidden)]
    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder;

    /// Adds its rows. Default: none, since the lock has no values in memory and no tables of a database.
    #[doc(hidden)]
    #[must_use]
    fn declare(schema: Schema) -> Schema {
        schema
    }
}

#[diagnostic::do_not_recommend]
impl<P: Projection> ReadModel for P {
    const NAME: &'static str = P::NAME;
    const SUBSCRIPTIONS: Option<&'static [&'static str]> = P::SUBSCRIPTIONS;

    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder.folded_projection::<P>()
    }
}
