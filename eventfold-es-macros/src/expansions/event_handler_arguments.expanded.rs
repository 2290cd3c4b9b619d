pub(crate) struct Mailer {
    smtp: SmtpClient,
}
/// A command that `Mailer` sends, with the address that it goes to.
///
/// `#[event_handler]` generates a variant for each aggregate in `dispatches`.
#[allow(
    private_interfaces,
    reason = "a target may be more private than what sends to it"
)]
pub(crate) enum MailCommand {
    /// A command for an instance of the aggregate `Inventory`.
    Inventory(my::es::Envelope<Inventory>),
    /// A command for an instance of the aggregate `Shipment`.
    Shipment(my::es::Envelope<Shipment>),
}
#[automatically_derived]
impl ::std::clone::Clone for MailCommand {
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
impl ::std::fmt::Debug for MailCommand {
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
impl my::es::EventHandler for Mailer {
    const NAME: &'static str = "mails";
    const SUBSCRIPTIONS: &'static [&'static str] = &[
        <Order as my::es::Aggregate>::AGGREGATE_TYPE,
    ];
    const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[
            <my::es::Envelope<Inventory> as my::es::__private::Addressed>::TARGET,
            <my::es::Envelope<Shipment> as my::es::__private::Addressed>::TARGET,
        ],
    );
    const CONCURRENCY: ::std::primitive::usize = 64;
    const TIMEOUT: ::std::time::Duration = ::std::time::Duration::from_millis(500u64);
    const START: my::es::StartFrom = my::es::StartFrom::Now;
    const IS_KEYED: bool = true;
    const KEY_TYPE: &'static str = "CustomerId";
    type Envelope = MailCommand;
    async fn handle_event(
        &self,
        cx: &mut my::es::Handling<'_, Self>,
    ) -> ::std::result::Result<(), my::es::HandleError> {
        let aggregate_type = my::es::Handling::aggregate_type(cx);
        if aggregate_type == <Order as my::es::Aggregate>::AGGREGATE_TYPE {
            <Self as my::es::Handle<
                my::es::contract::Subscribed<Order>,
            >>::handled(self, cx)
                .await
        } else {
            ::std::result::Result::Err(
                my::es::HandleError::Event(my::es::contract::ReactError::UnexpectedAggregate {
                    aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
                }),
            )
        }
    }
    fn key_of(
        aggregate_type: &str,
        stream_id: &str,
        event: &my::es::RecordedEvent,
    ) -> ::std::result::Result<::std::string::String, my::es::contract::ReactError> {
        let context = my::es::EventContext::new(aggregate_type, stream_id, event);
        if aggregate_type == <Order as my::es::Aggregate>::AGGREGATE_TYPE {
            let event = my::es::__private::decode::<
                my::es::contract::Subscribed<Order>,
            >(event)?;
            my::es::__private::key_text::<
                Self,
            >(
                &<Self as my::es::HandleKey<
                    my::es::contract::Subscribed<Order>,
                >>::key(&event, &context),
            )
        } else {
            ::std::result::Result::Err(my::es::contract::ReactError::UnexpectedAggregate {
                aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
            })
        }
    }
    fn on_failure(&self, failure: &my::es::Failure<'_>) -> my::es::HandlerAction<Self> {
        <Self as my::es::HandlerPolicy>::on_failure(self, failure)
    }
}
#[automatically_derived]
impl my::es::contract::HandlerKeyed for Mailer {
    type Key = CustomerId;
}
#[automatically_derived]
impl my::es::FailurePolicy for Mailer {}
#[automatically_derived]
impl my::es::__private::Subscribes<Order> for Mailer {}
#[automatically_derived]
#[doc(hidden)]
impl my::es::__private::Subscribes<
    my::es::__private::Checked<
        &'static Mailer,
        { my::es::__private::are_known(&[<Order as my::es::Aggregate>::AGGREGATE_TYPE]) },
    >,
> for Mailer {}
#[automatically_derived]
impl my::es::contract::Dispatch for MailCommand {
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
impl my::es::contract::HandlerDispatchesTo<Inventory> for Mailer {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn envelope(envelope: my::es::Envelope<Inventory>) -> MailCommand {
        MailCommand::Inventory(envelope)
    }
}
#[automatically_derived]
impl my::es::contract::HandlerDispatchesTo<Shipment> for Mailer {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn envelope(envelope: my::es::Envelope<Shipment>) -> MailCommand {
        MailCommand::Shipment(envelope)
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
