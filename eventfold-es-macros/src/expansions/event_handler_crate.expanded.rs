pub(crate) struct Mailer {
    smtp: SmtpClient,
}
/// What `Mailer` sends: nothing, since it declares no `dispatches`.
#[allow(
    private_interfaces,
    reason = "a target may be more private than what sends to it"
)]
pub(crate) enum MailerEnvelope {}
#[automatically_derived]
impl ::std::clone::Clone for MailerEnvelope {
    fn clone(&self) -> Self {
        match *self {}
    }
}
#[automatically_derived]
impl ::std::fmt::Debug for MailerEnvelope {
    fn fmt(&self, _: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        match *self {}
    }
}
#[automatically_derived]
impl my::es::EventHandler for Mailer {
    const NAME: &'static str = "mailer";
    const SUBSCRIPTIONS: &'static [&'static str] = &[
        <Order as my::es::Aggregate>::AGGREGATE_TYPE,
    ];
    const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[],
    );
    type Envelope = MailerEnvelope;
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
}
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
impl my::es::contract::Dispatch for MailerEnvelope {
    fn targets(_: &mut impl my::es::contract::TargetVisitor) {}
    fn route<R: my::es::contract::Router>(self, _: R) -> R::Routed {
        match self {}
    }
}
