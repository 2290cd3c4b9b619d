#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}
#[automatically_derived]
impl ::eventfold_es::Projection for Sales {
    const NAME: &'static str = "sales";
    const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[
            <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
            <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
        ],
    );
    fn apply(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &::eventfold_es::RecordedEvent,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::ProjectError> {
        let event = ::eventfold_es::__private::StoredEvent::of(event);
        ::eventfold_es::__private::Folds::fold(self, aggregate_type, stream_id, &event)
    }
    fn apply_stored(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &::eventfold_es::__private::StoredEvent<'_>,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::ProjectError> {
        ::eventfold_es::__private::Folds::fold(self, aggregate_type, stream_id, event)
    }
}
#[automatically_derived]
impl ::eventfold_es::__private::Folds for Sales {
    fn fold(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &::eventfold_es::__private::StoredEvent<'_>,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::ProjectError> {
        let deletion: ::eventfold_es::__private::Deletion = ::std::default::Default::default();
        let context = ::eventfold_es::EventContext::of_stored(
                aggregate_type,
                stream_id,
                event,
            )
            .deleting(&deletion);
        if aggregate_type == <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE {
            let event = ::eventfold_es::__private::decode_stored::<
                ::eventfold_es::contract::Subscribed<Order>,
            >(event)?;
            <Self as ::eventfold_es::Project<
                ::eventfold_es::contract::Subscribed<Order>,
            >>::project(self, &event, &context);
        } else if aggregate_type
            == <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE
        {
            let event = ::eventfold_es::__private::decode_stored::<
                ::eventfold_es::contract::Subscribed<stock::Inventory>,
            >(event)?;
            <Self as ::eventfold_es::Project<
                ::eventfold_es::contract::Subscribed<stock::Inventory>,
            >>::project(self, &event, &context);
        } else {
            return ::std::result::Result::Err(::eventfold_es::contract::ProjectError::UnexpectedAggregate {
                aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
            });
        }
        ::eventfold_es::__private::delete_if_asked(self, &deletion);
        ::std::result::Result::Ok(())
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredProjection for Sales {
    type Declared = Self;
}
#[automatically_derived]
impl ::eventfold_es::__private::Subscribes<Order> for Sales {}
#[automatically_derived]
impl ::eventfold_es::__private::Subscribes<stock::Inventory> for Sales {}
#[automatically_derived]
#[doc(hidden)]
impl ::eventfold_es::__private::Subscribes<
    ::eventfold_es::__private::Checked<
        &'static Sales,
        {
            ::eventfold_es::__private::are_known(
                &[
                    <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
                    <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
                ],
            )
        },
    >,
> for Sales {}
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
