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
impl ::eventfold_es::ProcessManager for ReservationSaga {
    const NAME: &'static str = "reservations";
    const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[<Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE],
    );
    const STATE: ::eventfold_es::schema::Shape = ::eventfold_es::schema::Shape::Struct(
        &[::eventfold_es::schema::Field::new("placed", "u64")],
    );
    const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[],
    );
    type Envelope = ReservationSagaEnvelope;
    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &::eventfold_es::RecordedEvent,
    ) -> ::std::result::Result<
        ::std::vec::Vec<ReservationSagaEnvelope>,
        ::eventfold_es::contract::ReactError,
    > {
        let mut reaction = ::eventfold_es::Reaction::new(
            aggregate_type,
            stream_id,
            event,
        );
        if aggregate_type == <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE {
            let event = ::eventfold_es::__private::decode::<
                ::eventfold_es::contract::Subscribed<Order>,
            >(event)?;
            <Self as ::eventfold_es::React<
                ::eventfold_es::contract::Subscribed<Order>,
            >>::react(self, &event, &mut reaction);
        } else {
            return ::std::result::Result::Err(::eventfold_es::contract::ReactError::UnexpectedAggregate {
                aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
            });
        }
        ::std::result::Result::Ok(::eventfold_es::Reaction::into_envelopes(reaction))
    }
}
#[automatically_derived]
impl ::eventfold_es::__private::Subscribes<Order> for ReservationSaga {}
#[automatically_derived]
#[doc(hidden)]
impl ::eventfold_es::__private::Subscribes<
    ::eventfold_es::__private::Checked<
        &'static ReservationSaga,
        {
            ::eventfold_es::__private::are_known(
                &[<Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE],
            )
        },
    >,
> for ReservationSaga {}
#[automatically_derived]
impl ::eventfold_es::contract::Dispatch for ReservationSagaEnvelope {
    fn targets(_: &mut impl ::eventfold_es::contract::TargetVisitor) {}
    fn route<R: ::eventfold_es::contract::Router>(self, _: R) -> R::Routed {
        match self {}
    }
}
