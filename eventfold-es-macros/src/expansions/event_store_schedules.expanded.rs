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
    Order(<Order as ::eventfold_es::__private::ListedAggregate>::Event),
    Nightly(<Nightly as ::eventfold_es::__private::ListedAggregate>::Event),
}
impl ::eventfold_es::__private::Decodes for ShopEvent {
    #[inline]
    fn topology() -> &'static ::eventfold_es::topology::Topology {
        Shop::topology()
    }
    #[inline]
    fn decode(
        index: ::std::primitive::usize,
        event: &::eventfold_es::RawRecorded,
    ) -> ::std::result::Result<Self, ::eventfold_es::ReadError> {
        match index {
            0 => {
                <Order as ::eventfold_es::__private::ListedAggregate>::decode(event)
                    .map(ShopEvent::Order)
            }
            _ => {
                <Nightly as ::eventfold_es::__private::ListedAggregate>::decode(event)
                    .map(ShopEvent::Nightly)
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
    ) -> ::eventfold_es::AggregateStoreBuilder {
        use ::eventfold_es::__private::NotATarget as _;
        let builder = ::eventfold_es::AggregateStore::builder(base);
        let builder = ::eventfold_es::__private::Commands::<Order>::accept(builder);
        let builder = ::eventfold_es::__private::Commands::<Nightly>::accept(builder);
        let builder = <Nightly as ::eventfold_es::__private::ListedSchedule>::register(
            builder,
        );
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
    ) -> ::std::result::Result<
        ::eventfold_es::AggregateStore,
        ::eventfold_es::OpenError,
    > {
        <::eventfold_es::AggregateStoreBuilder>::open(Self::builder(base)).await
    }
    /// What `Shop` is made of, and how its parts are connected.
    #[must_use]
    #[allow(unused_imports, reason = "every type of commands may find its aggregate")]
    pub const fn topology() -> &'static ::eventfold_es::topology::Topology {
        use ::eventfold_es::__private::OfNobody as _;
        const TOPOLOGY: ::eventfold_es::topology::Topology = ::eventfold_es::topology::Topology::new(
            "Shop",
            &[
                ::eventfold_es::topology::AggregateNode::called(
                        <Order as ::eventfold_es::__private::ListedAggregate>::NODE,
                        "Order",
                    )
                    .deciding_for(::eventfold_es::__private::Commands::<Order>::OWNER),
                ::eventfold_es::topology::AggregateNode::called(
                        <Nightly as ::eventfold_es::__private::ListedAggregate>::NODE,
                        "Nightly",
                    )
                    .deciding_for(::eventfold_es::__private::Commands::<Nightly>::OWNER)
                    .scheduled(),
            ],
            &[],
            &[],
        );
        &TOPOLOGY
    }
    /// The events of all aggregates of `Shop`, as `AggregateStore::subscribe` has those of one.
    #[inline]
    pub fn subscribe(
        store: &::eventfold_es::AggregateStore,
    ) -> ::eventfold_es::Subscription<::eventfold_es::Recorded<ShopEvent>> {
        ::eventfold_es::__private::subscribe(store)
    }
    /// What the events, states and rows of `Shop` look like in storage.
    #[must_use]
    pub fn schema() -> ::eventfold_es::schema::Schema {
        let schema = ::eventfold_es::schema::Schema::new("Shop");
        let schema = <Order as ::eventfold_es::__private::ListedAggregate>::declare(
            schema,
        );
        let schema = <Nightly as ::eventfold_es::__private::ListedAggregate>::declare(
            schema,
        );
        schema
    }
}
const _: () = ::eventfold_es::__private::aggregate_fits(Shop::topology(), 0);
const _: () = ::eventfold_es::__private::aggregate_fits(Shop::topology(), 1);
