#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}
#[automatically_derived]
impl ::eventfold_es::contract::SinkProjection for Sales {
    type Sink = ::eventfold_es::contract::RowSink<Self>;
    const NAME: &'static str = "sales";
    const SUBSCRIPTIONS: &'static [&'static str] = &[
        <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
    ];
    fn prepare(
        tx: &mut ::eventfold_es::contract::RowTx<'_, Self>,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::RowsError> {
        tx.clear()
    }
    fn apply(
        aggregate_type: &str,
        stream_id: &str,
        event: &::eventfold_es::__private::StoredEvent<'_>,
        tx: &mut ::eventfold_es::contract::RowTx<'_, Self>,
    ) -> ::std::result::Result<
        (),
        ::eventfold_es::contract::SinkError<::eventfold_es::contract::RowsError>,
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
            let keys = <Self as ::eventfold_es::Locate<
                ::eventfold_es::contract::Subscribed<Order>,
            >>::locate(&event, &context);
            tx.change(
                keys,
                &context,
                |row, context| <Self as ::eventfold_es::Project<
                    ::eventfold_es::contract::Subscribed<Order>,
                >>::project(row, &event, context),
            )
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
impl ::eventfold_es::contract::RowProjection for Sales {
    type Key = ::eventfold_es::contract::RowKeyOf<Self>;
    const ROW: ::eventfold_es::schema::Shape = ::eventfold_es::schema::Shape::Struct(
        &[::eventfold_es::schema::Field::new("units", "u64")],
    );
    const KEY_TYPE: &'static str = "CustomerId";
}
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredProjection for Sales {
    type Declared = Self;
}
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredRows for Sales {
    type Declared = Self;
    type Key = ::eventfold_es::__private::Checked<
        CustomerId,
        { ::eventfold_es::__private::is_row_key::<CustomerId>() },
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
        builder.row_projection::<Self>()
    }
    fn declare(
        schema: ::eventfold_es::schema::Schema,
    ) -> ::eventfold_es::schema::Schema {
        schema.rows::<Self>()
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
