#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}
#[automatically_derived]
impl my::es::Projection for Sales {
    const NAME: &'static str = "sales";
    const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[<Order as my::es::Aggregate>::AGGREGATE_TYPE],
    );
    fn apply(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &my::es::RecordedEvent,
    ) -> ::std::result::Result<(), my::es::contract::ProjectError> {
        let event = my::es::__private::StoredEvent::of(event);
        my::es::__private::Folds::fold(self, aggregate_type, stream_id, &event)
    }
    fn apply_stored(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &my::es::__private::StoredEvent<'_>,
    ) -> ::std::result::Result<(), my::es::contract::ProjectError> {
        my::es::__private::Folds::fold(self, aggregate_type, stream_id, event)
    }
}
#[automatically_derived]
impl my::es::__private::Folds for Sales {
    fn fold(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &my::es::__private::StoredEvent<'_>,
    ) -> ::std::result::Result<(), my::es::contract::ProjectError> {
        let deletion: my::es::__private::Deletion = ::std::default::Default::default();
        let context = my::es::EventContext::of_stored(aggregate_type, stream_id, event)
            .deleting(&deletion);
        if aggregate_type == <Order as my::es::Aggregate>::AGGREGATE_TYPE {
            let event = my::es::__private::decode_stored::<
                my::es::contract::Subscribed<Order>,
            >(event)?;
            <Self as my::es::Project<
                my::es::contract::Subscribed<Order>,
            >>::project(self, &event, &context);
        } else {
            return ::std::result::Result::Err(my::es::contract::ProjectError::UnexpectedAggregate {
                aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
            });
        }
        my::es::__private::delete_if_asked(self, &deletion);
        ::std::result::Result::Ok(())
    }
}
#[automatically_derived]
impl my::es::contract::DeclaredProjection for Sales {
    type Declared = Self;
}
#[automatically_derived]
impl my::es::__private::Subscribes<Order> for Sales {}
#[automatically_derived]
#[doc(hidden)]
impl my::es::__private::Subscribes<
    my::es::__private::Checked<
        &'static Sales,
        { my::es::__private::are_known(&[<Order as my::es::Aggregate>::AGGREGATE_TYPE]) },
    >,
> for Sales {}
