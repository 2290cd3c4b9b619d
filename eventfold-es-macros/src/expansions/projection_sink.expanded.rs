#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}
#[automatically_derived]
impl ::eventfold_es::contract::SinkProjection for Sales {
    type Sink = <Self as ::eventfold_es::contract::DeclaredSink>::Sink;
    const NAME: &'static str = "sales";
    const SUBSCRIPTIONS: &'static [&'static str] = &[
        <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
    ];
    fn prepare(
        tx: &mut ::eventfold_es::contract::TxOf<'_, Self>,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::SinkErrorOf<Self>> {
        <Self as ::eventfold_es::Prepare>::prepare(tx)
    }
    fn apply(
        aggregate_type: &str,
        stream_id: &str,
        event: &::eventfold_es::__private::StoredEvent<'_>,
        tx: &mut ::eventfold_es::contract::TxOf<'_, Self>,
    ) -> ::std::result::Result<
        (),
        ::eventfold_es::contract::SinkError<::eventfold_es::contract::SinkErrorOf<Self>>,
    > {
        let context = ::eventfold_es::EventContext::of_stored(
            aggregate_type,
            stream_id,
            event,
        );
        if aggregate_type == <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE {
            let event = ::eventfold_es::__private::decode_stored::<
                ::eventfold_es::contract::Subscribed<Order>,
            >(event)
                .map_err(::eventfold_es::contract::ProjectError::Event)?;
            <Self as ::eventfold_es::ProjectInto<
                ::eventfold_es::contract::Subscribed<Order>,
            >>::project(&event, &context, tx)
                .map_err(::eventfold_es::contract::SinkError::Sink)
        } else {
            ::std::result::Result::Err(
                ::eventfold_es::contract::SinkError::Event(::eventfold_es::contract::ProjectError::UnexpectedAggregate {
                    aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
                }),
            )
        }
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredSink for Sales {
    type Declared = Self;
    type Sink = ::eventfold_es::__private::Checked<
        Sqlite,
        { ::eventfold_es::__private::is_sink::<Sqlite>() },
    >;
}
#[automatically_derived]
impl ::eventfold_es::contract::ReadModel for Sales {
    const NAME: &'static str = <Self as ::eventfold_es::contract::SinkProjection>::NAME;
    const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        <Self as ::eventfold_es::contract::SinkProjection>::SUBSCRIPTIONS,
    );
    fn register(
        builder: ::eventfold_es::AggregateStoreBuilder,
    ) -> ::eventfold_es::AggregateStoreBuilder {
        builder.sink_projection::<Self>()
    }
}
#[automatically_derived]
impl ::eventfold_es::__private::Subscribes<Order> for Sales {}
#[automatically_derived]
#[doc(hidden)]
impl ::eventfold_es::__private::Subscribes<
    ::eventfold_es::__private::Checked<
        &'static Sales,
        {
            ::eventfold_es::__private::are_known(
                &[<Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE],
            )
        },
    >,
> for Sales {}
