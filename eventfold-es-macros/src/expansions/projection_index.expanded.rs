#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct CustomerOrders {
    pub name: String,
    /// Where the customer lives.
    pub city: String,
    #[cfg(feature = "kinds")]
    #[serde(default)]
    r#type: u8,
}
#[automatically_derived]
impl ::eventfold_es::contract::SinkProjection for CustomerOrders {
    type Sink = ::eventfold_es::contract::RowSink<Self>;
    const NAME: &'static str = "customer-orders";
    const SUBSCRIPTIONS: &'static [&'static str] = &[
        <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
        <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
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
        } else if aggregate_type
            == <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE
        {
            let event = ::eventfold_es::__private::decode_stored::<
                ::eventfold_es::contract::Subscribed<stock::Inventory>,
            >(event)
                .map_err(::eventfold_es::contract::ProjectError::Event)?;
            let keys = <Self as ::eventfold_es::Locate<
                ::eventfold_es::contract::Subscribed<stock::Inventory>,
            >>::locate(&event, &context);
            tx.change(
                keys,
                &context,
                |row, context| <Self as ::eventfold_es::Project<
                    ::eventfold_es::contract::Subscribed<stock::Inventory>,
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
impl ::eventfold_es::contract::RowProjection for CustomerOrders {
    type Key = ::eventfold_es::contract::RowKeyOf<Self>;
    const ROW: ::eventfold_es::schema::Shape = ::eventfold_es::schema::Shape::Struct(
        &[
            ::eventfold_es::schema::Field::new("name", "String"),
            ::eventfold_es::schema::Field::new("city", "String"),
            #[cfg(feature = "kinds")]
            ::eventfold_es::schema::Field::new("type", "u8").optional(),
        ],
    );
    const KEY_TYPE: &'static str = "String";
    const INDEXES: &'static [&'static str] = &[
        ::eventfold_es::__private::indexed::<String>("city"),
        #[cfg(feature = "kinds")]
        ::eventfold_es::__private::indexed::<u8>("type"),
    ];
    const INDEX_TYPES: &'static [&'static str] = &[
        "String",
        #[cfg(feature = "kinds")]
        "u8",
    ];
    fn index(
        &self,
        entries: &mut ::eventfold_es::contract::IndexEntries<'_>,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::EncodeError> {
        entries.add(&self.city)?;
        #[cfg(feature = "kinds")] entries.add(&self.r#type)?;
        ::std::result::Result::Ok(())
    }
}
#[allow(dead_code, private_interfaces, reason = "a program need not use all of it")]
impl CustomerOrders {
    /// The index of `CustomerOrders` over the values of `city`.
    pub(crate) const CITY: ::eventfold_es::Index<Self, String> = ::eventfold_es::Index::new(
        "city",
    );
    #[cfg(feature = "kinds")]
    /// The index of `CustomerOrders` over the values of `type`.
    pub(crate) const TYPE: ::eventfold_es::Index<Self, u8> = ::eventfold_es::Index::new(
        "type",
    );
}
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredProjection for CustomerOrders {
    type Declared = Self;
}
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredRows for CustomerOrders {
    type Declared = Self;
    type Key = ::eventfold_es::__private::Checked<
        String,
        { ::eventfold_es::__private::is_row_key::<String>() },
    >;
}
#[automatically_derived]
impl ::eventfold_es::contract::ReadModel for CustomerOrders {
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
impl ::eventfold_es::__private::Subscribes<Order> for CustomerOrders {}
#[automatically_derived]
impl ::eventfold_es::__private::Subscribes<stock::Inventory> for CustomerOrders {}
#[automatically_derived]
#[doc(hidden)]
impl ::eventfold_es::__private::Subscribes<
    ::eventfold_es::__private::Checked<
        &'static CustomerOrders,
        {
            ::eventfold_es::__private::are_known(
                &[
                    <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
                    <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
                ],
            )
        },
    >,
> for CustomerOrders {}
const _: () = {
    let names = [
        <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
        <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
    ];
    ::std::assert!(
        ! ::eventfold_es::names::is_repeated(& names, 1),
        "`stock::Inventory` in `subscribes` has the stored name of an entry before it: keep one, or give this one a name of its own with `#[aggregate(name = \"..\")]`"
    );
};
