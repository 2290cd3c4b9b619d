pub(crate) struct Mailer {
    smtp: SmtpClient,
}
::core::compile_error! {
    "`Order` is listed twice in `subscribes`: remove this one"
}
const _: ::std::marker::PhantomData<(Order,)> = ::std::marker::PhantomData;
#[automatically_derived]
impl ::eventfold_es::EventHandler for Mailer {
    const NAME: &'static str = "";
    const SUBSCRIPTIONS: &'static [&'static str] = &[];
    type Envelope = MailerEnvelope;
    async fn handle_event(
        &self,
        _: &mut ::eventfold_es::Handling<'_, Self>,
    ) -> ::std::result::Result<(), ::eventfold_es::HandleError> {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl<A: ::eventfold_es::Aggregate> ::eventfold_es::__private::Subscribes<A> for Mailer {}
#[automatically_derived]
impl<A: ::eventfold_es::Aggregate> ::eventfold_es::contract::HandlerDispatchesTo<A>
for Mailer {
    fn envelope(
        _: ::eventfold_es::Envelope<A>,
    ) -> <Self as ::eventfold_es::EventHandler>::Envelope {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::HandlerKeyed for Mailer {
    type Key = ::std::string::String;
}
#[automatically_derived]
impl ::eventfold_es::FailurePolicy for Mailer {}
#[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
pub(crate) enum MailerEnvelope {
    Inventory(::eventfold_es::Envelope<Inventory>),
}
#[automatically_derived]
impl ::eventfold_es::contract::Dispatch for MailerEnvelope {
    fn targets(_: &mut impl ::eventfold_es::contract::TargetVisitor) {}
    fn route<R: ::eventfold_es::contract::Router>(self, _: R) -> R::Routed {
        ::std::unreachable!()
    }
}
