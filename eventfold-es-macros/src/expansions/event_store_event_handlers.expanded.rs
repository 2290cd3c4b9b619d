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
            _ => {
                <Order as ::eventfold_es::__private::ListedAggregate>::decode(event)
                    .map(ShopEvent::Order)
            }
        }
    }
}
#[allow(dead_code, reason = "a program need not use all of it")]
impl Shop {
    /// A builder of `Shop` in the directory `base`, with all of its parts registered.
    ///
    /// It awaits the values of `Mailer`, `audit::Auditor`, with a call of `event_handler` for each, in this order.
    #[allow(unused_imports, reason = "every aggregate may be a target")]
    #[allow(private_interfaces, reason = "a handler may be more private than its store")]
    pub fn builder(
        base: impl ::std::convert::AsRef<::std::path::Path>,
    ) -> ::eventfold_es::AggregateStoreBuilder<
        ::eventfold_es::contract::Awaits<
            Mailer,
            ::eventfold_es::contract::Awaits<audit::Auditor>,
        >,
    > {
        use ::eventfold_es::__private::NotATarget as _;
        let builder = ::eventfold_es::AggregateStore::builder(base);
        let builder = ::eventfold_es::__private::Commands::<Order>::accept(builder);
        ::eventfold_es::AggregateStoreBuilder::awaiting(builder)
    }
    /// Opens `Shop` in the directory `base`, with the defaults and its event handlers.
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
    #[allow(private_interfaces, reason = "a handler may be more private than its store")]
    pub async fn open(
        base: impl ::std::convert::AsRef<::std::path::Path>,
        mailer: Mailer,
        auditor: audit::Auditor,
    ) -> ::std::result::Result<
        ::eventfold_es::AggregateStore,
        ::eventfold_es::OpenError,
    > {
        let builder: ::eventfold_es::AggregateStoreBuilder = ::eventfold_es::AggregateStoreBuilder::awaiting(
            Self::builder(base),
        );
        let builder = <Mailer as ::eventfold_es::__private::ListedEventHandler>::register(
            builder,
            mailer,
        );
        let builder = <audit::Auditor as ::eventfold_es::__private::ListedEventHandler>::register(
            builder,
            auditor,
        );
        <::eventfold_es::AggregateStoreBuilder>::open(builder).await
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
                        .deciding_for(
                            ::eventfold_es::__private::Commands::<Order>::OWNER,
                        ),
                ],
                &[],
                &[],
            )
            .with_event_handlers(
                &[
                    ::eventfold_es::topology::EventHandlerNode::called(
                        <Mailer as ::eventfold_es::__private::ListedEventHandler>::NODE,
                        "Mailer",
                    ),
                    ::eventfold_es::topology::EventHandlerNode::called(
                        <audit::Auditor as ::eventfold_es::__private::ListedEventHandler>::NODE,
                        "audit::Auditor",
                    ),
                ],
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
        let schema = <Mailer as ::eventfold_es::__private::ListedEventHandler>::declare(
            schema,
        );
        let schema = <audit::Auditor as ::eventfold_es::__private::ListedEventHandler>::declare(
            schema,
        );
        schema
    }
}
const _: () = ::eventfold_es::__private::aggregate_fits(Shop::topology(), 0);
const _: () = ::eventfold_es::__private::event_handler_fits(Shop::topology(), 0);
const _: () = ::eventfold_es::__private::event_handler_fits(Shop::topology(), 1);
