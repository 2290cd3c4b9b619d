#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ReservationSaga {
    placed: u64,
}
/// A command that `ReservationSaga` sends, with the address that it goes to.
///
/// `#[process_manager]` generates a variant for each aggregate in `dispatches`.
#[allow(
    private_interfaces,
    reason = "a target may be more private than what sends to it"
)]
pub(crate) enum ReservationSagaEnvelope {
    /// A command for an instance of the aggregate `stock::Inventory`.
    Inventory(::eventfold_es::Envelope<stock::Inventory>),
    /// A command for an instance of the aggregate `Order`.
    Order(::eventfold_es::Envelope<Order>),
}
#[automatically_derived]
impl ::std::clone::Clone for ReservationSagaEnvelope {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn clone(&self) -> Self {
        match self {
            Self::Inventory(envelope) => {
                Self::Inventory(
                    <::eventfold_es::Envelope<
                        stock::Inventory,
                    > as ::eventfold_es::__private::Addressed>::cloned(envelope),
                )
            }
            Self::Order(envelope) => {
                Self::Order(
                    <::eventfold_es::Envelope<
                        Order,
                    > as ::eventfold_es::__private::Addressed>::cloned(envelope),
                )
            }
        }
    }
}
#[automatically_derived]
impl ::std::fmt::Debug for ReservationSagaEnvelope {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match self {
            Self::Inventory(envelope) => {
                <::eventfold_es::Envelope<
                    stock::Inventory,
                > as ::eventfold_es::__private::Addressed>::print(
                    envelope,
                    "Inventory",
                    f,
                )
            }
            Self::Order(envelope) => {
                <::eventfold_es::Envelope<
                    Order,
                > as ::eventfold_es::__private::Addressed>::print(envelope, "Order", f)
            }
        }
    }
}
#[automatically_derived]
impl ::eventfold_es::ProcessManager for ReservationSaga {
    const NAME: &'static str = "reservation-saga";
    const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[
            <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
            <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
        ],
    );
    const STATE: ::eventfold_es::schema::Shape = ::eventfold_es::schema::Shape::Struct(
        &[::eventfold_es::schema::Field::new("placed", "u64")],
    );
    const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[
            <::eventfold_es::Envelope<
                stock::Inventory,
            > as ::eventfold_es::__private::Addressed>::TARGET,
            <::eventfold_es::Envelope<
                Order,
            > as ::eventfold_es::__private::Addressed>::TARGET,
        ],
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
        } else if aggregate_type
            == <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE
        {
            let event = ::eventfold_es::__private::decode::<
                ::eventfold_es::contract::Subscribed<stock::Inventory>,
            >(event)?;
            <Self as ::eventfold_es::React<
                ::eventfold_es::contract::Subscribed<stock::Inventory>,
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
impl ::eventfold_es::__private::Subscribes<stock::Inventory> for ReservationSaga {}
#[automatically_derived]
#[doc(hidden)]
impl ::eventfold_es::__private::Subscribes<
    ::eventfold_es::__private::Checked<
        &'static ReservationSaga,
        {
            ::eventfold_es::__private::are_known(
                &[
                    <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
                    <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
                ],
            )
        },
    >,
> for ReservationSaga {}
#[automatically_derived]
impl ::eventfold_es::contract::Dispatch for ReservationSagaEnvelope {
    fn targets(targets: &mut impl ::eventfold_es::contract::TargetVisitor) {
        <::eventfold_es::Envelope<
            stock::Inventory,
        > as ::eventfold_es::__private::Addressed>::visit(targets);
        <::eventfold_es::Envelope<
            Order,
        > as ::eventfold_es::__private::Addressed>::visit(targets);
    }
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn route<R: ::eventfold_es::contract::Router>(self, router: R) -> R::Routed {
        match self {
            Self::Inventory(envelope) => {
                <::eventfold_es::Envelope<
                    stock::Inventory,
                > as ::eventfold_es::__private::Addressed>::route(envelope, router)
            }
            Self::Order(envelope) => {
                <::eventfold_es::Envelope<
                    Order,
                > as ::eventfold_es::__private::Addressed>::route(envelope, router)
            }
        }
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::DispatchesTo<stock::Inventory> for ReservationSaga {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn envelope(
        envelope: ::eventfold_es::Envelope<stock::Inventory>,
    ) -> ReservationSagaEnvelope {
        ReservationSagaEnvelope::Inventory(envelope)
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::DispatchesTo<Order> for ReservationSaga {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn envelope(envelope: ::eventfold_es::Envelope<Order>) -> ReservationSagaEnvelope {
        ReservationSagaEnvelope::Order(envelope)
    }
}
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
