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
pub(crate) enum MailerEnvelope {
    /// A command for an instance of the aggregate `stock::Inventory`.
    Inventory(::eventfold_es::Envelope<stock::Inventory>),
    /// A command for an instance of the aggregate `Order`.
    Order(::eventfold_es::Envelope<Order>),
}
#[automatically_derived]
impl ::std::clone::Clone for MailerEnvelope {
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
impl ::std::fmt::Debug for MailerEnvelope {
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
impl ::eventfold_es::EventHandler for Mailer {
    const NAME: &'static str = "mailer";
    const SUBSCRIPTIONS: &'static [&'static str] = &[
        <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
        <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
    ];
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
    type Envelope = MailerEnvelope;
    async fn handle_event(
        &self,
        cx: &mut ::eventfold_es::Handling<'_, Self>,
    ) -> ::std::result::Result<(), ::eventfold_es::HandleError> {
        let aggregate_type = ::eventfold_es::Handling::aggregate_type(cx);
        if aggregate_type == <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE {
            <Self as ::eventfold_es::Handle<
                ::eventfold_es::contract::Subscribed<Order>,
            >>::handled(self, cx)
                .await
        } else if aggregate_type
            == <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE
        {
            <Self as ::eventfold_es::Handle<
                ::eventfold_es::contract::Subscribed<stock::Inventory>,
            >>::handled(self, cx)
                .await
        } else {
            ::std::result::Result::Err(
                ::eventfold_es::HandleError::Event(::eventfold_es::contract::ReactError::UnexpectedAggregate {
                    aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
                }),
            )
        }
    }
}
#[automatically_derived]
impl ::eventfold_es::__private::Subscribes<Order> for Mailer {}
#[automatically_derived]
impl ::eventfold_es::__private::Subscribes<stock::Inventory> for Mailer {}
#[automatically_derived]
#[doc(hidden)]
impl ::eventfold_es::__private::Subscribes<
    ::eventfold_es::__private::Checked<
        &'static Mailer,
        {
            ::eventfold_es::__private::are_known(
                &[
                    <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
                    <stock::Inventory as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
                ],
            )
        },
    >,
> for Mailer {}
#[automatically_derived]
impl ::eventfold_es::contract::Dispatch for MailerEnvelope {
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
impl ::eventfold_es::contract::HandlerDispatchesTo<stock::Inventory> for Mailer {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn envelope(envelope: ::eventfold_es::Envelope<stock::Inventory>) -> MailerEnvelope {
        MailerEnvelope::Inventory(envelope)
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::HandlerDispatchesTo<Order> for Mailer {
    #[allow(unreachable_code, reason = "a command may be an enum without variants")]
    fn envelope(envelope: ::eventfold_es::Envelope<Order>) -> MailerEnvelope {
        MailerEnvelope::Order(envelope)
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
