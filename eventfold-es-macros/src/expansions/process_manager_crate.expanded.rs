#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ReservationSaga {
    placed: u64,
}
/// What `ReservationSaga` sends: nothing, since it declares no `dispatches`.
#[allow(
    private_interfaces,
    reason = "a target may be more private than what sends to it"
)]
pub(crate) enum ReservationSagaEnvelope {}
#[automatically_derived]
impl ::std::clone::Clone for ReservationSagaEnvelope {
    fn clone(&self) -> Self {
        match *self {}
    }
}
#[automatically_derived]
impl ::std::fmt::Debug for ReservationSagaEnvelope {
    fn fmt(&self, _: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match *self {}
    }
}
#[automatically_derived]
impl my::es::ProcessManager for ReservationSaga {
    const NAME: &'static str = "reservation-saga";
    const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[<Order as my::es::Aggregate>::AGGREGATE_TYPE],
    );
    const STATE: my::es::schema::Shape = my::es::schema::Shape::Struct(
        &[my::es::schema::Field::new("placed", "u64")],
    );
    const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[],
    );
    type Envelope = ReservationSagaEnvelope;
    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &my::es::RecordedEvent,
    ) -> ::std::result::Result<
        ::std::vec::Vec<ReservationSagaEnvelope>,
        my::es::contract::ReactError,
    > {
        let mut reaction = my::es::Reaction::new(aggregate_type, stream_id, event);
        if aggregate_type == <Order as my::es::Aggregate>::AGGREGATE_TYPE {
            let event = my::es::__private::decode::<
                my::es::contract::Subscribed<Order>,
            >(event)?;
            <Self as my::es::React<
                my::es::contract::Subscribed<Order>,
            >>::react(self, &event, &mut reaction);
        } else {
            return ::std::result::Result::Err(my::es::contract::ReactError::UnexpectedAggregate {
                aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
            });
        }
        ::std::result::Result::Ok(my::es::Reaction::into_envelopes(reaction))
    }
}
#[automatically_derived]
impl my::es::__private::Subscribes<Order> for ReservationSaga {}
#[automatically_derived]
#[doc(hidden)]
impl my::es::__private::Subscribes<
    my::es::__private::Checked<
        &'static ReservationSaga,
        { my::es::__private::are_known(&[<Order as my::es::Aggregate>::AGGREGATE_TYPE]) },
    >,
> for ReservationSaga {}
#[automatically_derived]
impl my::es::contract::Dispatch for ReservationSagaEnvelope {
    fn targets(_: &mut impl my::es::contract::TargetVisitor) {}
    fn route<R: my::es::contract::Router>(self, _: R) -> R::Routed {
        match self {}
    }
}
