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
impl ::eventfold_es::EventHandler for Mailer {
    const NAME: &'static str = "mailer";
    const SUBSCRIPTIONS: &'static [&'static str] = &[
        <Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE,
    ];
    const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(
        &[],
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
#[doc(hidden)]
impl ::eventfold_es::__private::Subscribes<
    ::eventfold_es::__private::Checked<
        &'static Mailer,
        {
            ::eventfold_es::__private::are_known(
                &[<Order as ::eventfold_es::Aggregate>::AGGREGATE_TYPE],
            )
        },
    >,
> for Mailer {}
#[automatically_derived]
impl ::eventfold_es::contract::Dispatch for MailerEnvelope {
    fn targets(_: &mut impl ::eventfold_es::contract::TargetVisitor) {}
    fn route<R: ::eventfold_es::contract::Router>(self, _: R) -> R::Routed {
        match self {}
    }
}
