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
        ],
    );
    const STATE_VERSION: u32 = 3;
    const IS_KEYED: bool = true;
    const KEY_TYPE: &'static str = "OrderId";
    const DEADLINES: &'static [&'static str] = &["payment-due", "expired"];
    const DEADLINE_MESSAGES: &'static [::eventfold_es::schema::NamedType] = {
        #[allow(
            unused_imports,
            reason = "each of the types may tell what it looks like"
        )]
        use ::eventfold_es::schema::NotRecorded as _;
        &[
            ::eventfold_es::schema::NamedType::new(
                "payment-due",
                ::eventfold_es::schema::Recorded::<PaymentDue>::SHAPE,
            ),
            ::eventfold_es::schema::NamedType::new(
                "expired",
                ::eventfold_es::schema::Recorded::<stock::Expired>::SHAPE,
            ),
        ]
    };
    const START: ::eventfold_es::StartFrom = ::eventfold_es::StartFrom::Now;
    type Envelope = ReservationSagaEnvelope;
    fn react(
        &mut self,
        _: &str,
        _: &str,
        _: &::eventfold_es::RecordedEvent,
    ) -> ::std::result::Result<
        ::std::vec::Vec<ReservationSagaEnvelope>,
        ::eventfold_es::contract::ReactError,
    > {
        ::std::result::Result::Err(::eventfold_es::contract::ReactError::NoKey)
    }
    fn correlate(
        aggregate_type: &str,
        stream_id: &str,
        event: &::eventfold_es::RecordedEvent,
    ) -> ::std::result::Result<
        ::eventfold_es::Correlation,
        ::eventfold_es::contract::ReactError,
    > {
        let context = ::eventfold_es::EventContext::new(
            aggregate_type,
            stream_id,
            event,
        );
        if aggregate_type == <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE {
            let event = ::eventfold_es::__private::decode::<
                ::eventfold_es::contract::Subscribed<Order>,
            >(event)?;
            ::eventfold_es::__private::erase::<
                Self,
            >(
                <Self as ::eventfold_es::Correlate<
                    ::eventfold_es::contract::Subscribed<Order>,
                >>::correlate(&event, &context),
            )
        } else if aggregate_type
            == <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE
        {
            let event = ::eventfold_es::__private::decode::<
                ::eventfold_es::contract::Subscribed<stock::Inventory>,
            >(event)?;
            ::eventfold_es::__private::erase::<
                Self,
            >(
                <Self as ::eventfold_es::Correlate<
                    ::eventfold_es::contract::Subscribed<stock::Inventory>,
                >>::correlate(&event, &context),
            )
        } else {
            ::std::result::Result::Err(::eventfold_es::contract::ReactError::UnexpectedAggregate {
                aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
            })
        }
    }
    fn react_in(
        &mut self,
        key: &str,
        aggregate_type: &str,
        stream_id: &str,
        event: &::eventfold_es::RecordedEvent,
    ) -> ::std::result::Result<
        ::eventfold_es::Effects<ReservationSagaEnvelope>,
        ::eventfold_es::contract::ReactError,
    > {
        let own_key = ::eventfold_es::__private::own_key::<Self>(key)?;
        let mut reaction = ::eventfold_es::Reaction::with_key(
            ::eventfold_es::Reaction::new(aggregate_type, stream_id, event),
            &own_key,
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
        ::eventfold_es::Reaction::into_effects(reaction)
    }
    fn on_deadline(
        &mut self,
        key: &str,
        deadline: &::eventfold_es::contract::StoredDeadline,
    ) -> ::std::result::Result<
        ::eventfold_es::Effects<ReservationSagaEnvelope>,
        ::eventfold_es::contract::ReactError,
    > {
        let event = ::eventfold_es::contract::StoredDeadline::as_event(deadline);
        let own_key = ::eventfold_es::__private::own_key::<Self>(key)?;
        let mut reaction = ::eventfold_es::Reaction::with_key(
            ::eventfold_es::Reaction::to_deadline(deadline, &event),
            &own_key,
        );
        if deadline.message_type == "payment-due" {
            let message = <PaymentDue as ::eventfold_es::contract::DeadlineMessage>::from_deadline(
                deadline,
            )?;
            <Self as ::eventfold_es::OnDeadline<
                PaymentDue,
            >>::on_deadline(self, message, &mut reaction);
        } else if deadline.message_type == "expired" {
            let message = <stock::Expired as ::eventfold_es::contract::DeadlineMessage>::from_deadline(
                deadline,
            )?;
            <Self as ::eventfold_es::OnDeadline<
                stock::Expired,
            >>::on_deadline(self, message, &mut reaction);
        } else {
            return ::std::result::Result::Err(
                ::eventfold_es::contract::ReactError::unexpected_deadline(deadline),
            );
        }
        ::eventfold_es::Reaction::into_effects(reaction)
    }
    fn on_failure(
        &self,
        failure: &::eventfold_es::Failure<'_>,
    ) -> ::eventfold_es::FailureAction<Self> {
        <Self as ::eventfold_es::HandleFailure>::on_failure(self, failure)
    }
    fn migrate_state(
        state: ::eventfold_es::StoredState<'_>,
    ) -> ::std::result::Result<Self, ::eventfold_es::MigrationError> {
        <Self as ::eventfold_es::MigrateState>::migrate(state)
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::Keyed for ReservationSaga {
    type Key = OrderId;
}
#[automatically_derived]
impl ::eventfold_es::contract::Schedules<PaymentDue> for ReservationSaga {
    const MESSAGE_TYPE: &'static str = "payment-due";
    fn encode(
        message: &PaymentDue,
    ) -> ::std::result::Result<
        ::std::boxed::Box<::eventfold_es::__private::RawValue>,
        ::std::string::String,
    > {
        <PaymentDue as ::eventfold_es::contract::DeadlineMessage>::encode(message)
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::Schedules<stock::Expired> for ReservationSaga {
    const MESSAGE_TYPE: &'static str = "expired";
    fn encode(
        message: &stock::Expired,
    ) -> ::std::result::Result<
        ::std::boxed::Box<::eventfold_es::__private::RawValue>,
        ::std::string::String,
    > {
        <stock::Expired as ::eventfold_es::contract::DeadlineMessage>::encode(message)
    }
}
#[automatically_derived]
impl ::eventfold_es::FailurePolicy for ReservationSaga {}
#[automatically_derived]
impl ::eventfold_es::contract::StateVersioned for ReservationSaga {}
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
    }
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn route<R: ::eventfold_es::contract::Router>(self, router: R) -> R::Routed {
        match self {
            Self::Inventory(envelope) => {
                <::eventfold_es::Envelope<
                    stock::Inventory,
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
