/// Everything there is.
pub struct Shop;
/// An event of any aggregate of `Shop`.
#[allow(
    dead_code,
    missing_docs,
    private_interfaces,
    reason = "it has what its aggregates have"
)]
pub enum ShopEvent {
    Order(<Order as my::es::__private::ListedAggregate>::Event),
}
impl my::es::__private::Decodes for ShopEvent {
    #[inline]
    fn topology() -> &'static my::es::topology::Topology {
        Shop::topology()
    }
    #[inline]
    fn decode(
        index: ::std::primitive::usize,
        event: &my::es::RawRecorded,
    ) -> ::std::result::Result<Self, my::es::ReadError> {
        match index {
            _ => {
                <Order as my::es::__private::ListedAggregate>::decode(event)
                    .map(ShopEvent::Order)
            }
        }
    }
}
#[allow(dead_code, reason = "a program need not use all of it")]
impl Shop {
    /// A builder of `Shop` in the directory `base`, with all of its parts registered.
    #[allow(unused_imports, reason = "every aggregate may be a target")]
    pub fn builder(
        base: impl ::std::convert::AsRef<::std::path::Path>,
    ) -> my::es::AggregateStoreBuilder {
        use my::es::__private::NotATarget as _;
        let builder = my::es::AggregateStore::builder(base);
        let builder = my::es::__private::Commands::<Order>::accept(builder);
        builder
    }
    /// Opens `Shop` in the directory `base`, with the defaults.
    ///
    /// # Errors
    ///
    /// As `AggregateStoreBuilder::open`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and in one without timer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the directory as it was or recovered.
    pub async fn open(
        base: impl ::std::convert::AsRef<::std::path::Path>,
    ) -> ::std::result::Result<my::es::AggregateStore, my::es::OpenError> {
        <my::es::AggregateStoreBuilder>::open(Self::builder(base)).await
    }
    /// What `Shop` is made of, and how its parts are connected.
    #[must_use]
    #[allow(unused_imports, reason = "every type of commands may find its aggregate")]
    pub const fn topology() -> &'static my::es::topology::Topology {
        use my::es::__private::OfNobody as _;
        const TOPOLOGY: my::es::topology::Topology = my::es::topology::Topology::new(
            "Shop",
            &[
                my::es::topology::AggregateNode::called(
                        <Order as my::es::__private::ListedAggregate>::NODE,
                        "Order",
                    )
                    .deciding_for(my::es::__private::Commands::<Order>::OWNER),
            ],
            &[],
            &[],
        );
        &TOPOLOGY
    }
    /// The events of all aggregates of `Shop`, as `AggregateStore::subscribe` has those of one.
    #[inline]
    pub fn subscribe(
        store: &my::es::AggregateStore,
    ) -> my::es::Subscription<my::es::Recorded<ShopEvent>> {
        my::es::__private::subscribe(store)
    }
    /// What the events, states and rows of `Shop` look like in storage.
    #[must_use]
    pub fn schema() -> my::es::schema::Schema {
        let schema = my::es::schema::Schema::new("Shop");
        let schema = <Order as my::es::__private::ListedAggregate>::declare(schema);
        schema
    }
}
const _: () = my::es::__private::aggregate_fits(Shop::topology(), 0);
