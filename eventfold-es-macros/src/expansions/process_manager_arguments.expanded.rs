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
pub(crate) enum ReservationCommand {
    /// A command for an instance of the aggregate `Inventory`.
    Inventory(my::es::Envelope<Inventory>),
    /// A command for an instance of the aggregate `Shipment`.
    Shipment(my::es::Envelope<Shipment>),
}
#[automatically_derived]
impl ::std::clone::Clone for ReservationCommand {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn clone(&self) -> Self {
        match self {
            Self::Inventory(envelope) => {
                Self::Inventory(
                    <my::es::Envelope<
                        Inventory,
                    > as my::es::__private::Addressed>::cloned(envelope),
                )
            }
            Self::Shipment(envelope) => {
                Self::Shipment(
                    <my::es::Envelope<
                        Shipment,
                    > as my::es::__private::Addressed>::cloned(envelope),
                )
            }
        }
    }
}
#[automatically_derived]
impl ::std::fmt::Debug for ReservationCommand {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match self {
            Self::Inventory(envelope) => {
                <my::es::Envelope<
                    Inventory,
                > as my::es::__private::Addressed>::print(envelope, "Inventory", f)
            }
            Self::Shipment(envelope) => {
                <my::es::Envelope<
                    Shipment,
                > as my::es::__private::Addressed>::print(envelope, "Shipment", f)
            }
        }
    }
}
#[automatically_derived]
impl my::es::ProcessManager for ReservationSaga {
    const NAME: &'static str = "reservations";
    const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[<Order as my::es::Aggregate>::AGGREGATE_TYPE],
    );
    const STATE: my::es::schema::Shape = my::es::schema::Shape::Struct(
        &[my::es::schema::Field::new("placed", "u64")],
    );
    const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[
            <my::es::Envelope<Inventory> as my::es::__private::Addressed>::TARGET,
            <my::es::Envelope<Shipment> as my::es::__private::Addressed>::TARGET,
        ],
    );
    type Envelope = ReservationCommand;
    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &my::es::RecordedEvent,
    ) -> ::std::result::Result<
        ::std::vec::Vec<ReservationCommand>,
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
impl my::es::contract::Dispatch for ReservationCommand {
    fn targets(targets: &mut impl my::es::contract::TargetVisitor) {
        <my::es::Envelope<Inventory> as my::es::__private::Addressed>::visit(targets);
        <my::es::Envelope<Shipment> as my::es::__private::Addressed>::visit(targets);
    }
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn route<R: my::es::contract::Router>(self, router: R) -> R::Routed {
        match self {
            Self::Inventory(envelope) => {
                <my::es::Envelope<
                    Inventory,
                > as my::es::__private::Addressed>::route(envelope, router)
            }
            Self::Shipment(envelope) => {
                <my::es::Envelope<
                    Shipment,
                > as my::es::__private::Addressed>::route(envelope, router)
            }
        }
    }
}
#[automatically_derived]
impl my::es::contract::DispatchesTo<Inventory> for ReservationSaga {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn envelope(envelope: my::es::Envelope<Inventory>) -> ReservationCommand {
        ReservationCommand::Inventory(envelope)
    }
}
#[automatically_derived]
impl my::es::contract::DispatchesTo<Shipment> for ReservationSaga {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn envelope(envelope: my::es::Envelope<Shipment>) -> ReservationCommand {
        ReservationCommand::Shipment(envelope)
    }
}
const _: () = {
    let names = [
        <my::es::Envelope<Inventory> as my::es::__private::Addressed>::TARGET,
        <my::es::Envelope<Shipment> as my::es::__private::Addressed>::TARGET,
    ];
    ::std::assert!(
        ! my::es::names::is_repeated(& names, 1),
        "`Shipment` in `dispatches` has the stored name of an entry before it: keep one, or give this one a name of its own with `#[aggregate(name = \"..\")]`"
    );
};
