impl React<Order> for ReservationSaga {}
::core::compile_error! {
    "`#[process_manager]` goes on a struct or an enum, and this is an impl: put it on the type itself, above `struct ReservationSaga`"
}
const _: ::std::marker::PhantomData<(Order,)> = ::std::marker::PhantomData;
const _: ::std::marker::PhantomData<()> = ::std::marker::PhantomData;
#[automatically_derived]
impl ::eventfold_es::ProcessManager for ReservationSaga {
    const NAME: &'static str = "";
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
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl<A: ::eventfold_es::Aggregate> ::eventfold_es::__private::Subscribes<A>
for ReservationSaga {}
#[automatically_derived]
impl<A: ::eventfold_es::Aggregate> ::eventfold_es::contract::DispatchesTo<A>
for ReservationSaga {
    fn envelope(
        _: ::eventfold_es::Envelope<A>,
    ) -> <Self as ::eventfold_es::ProcessManager>::Envelope {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::Keyed for ReservationSaga {
    type Key = ::std::string::String;
}
#[automatically_derived]
impl<M> ::eventfold_es::contract::Schedules<M> for ReservationSaga {
    const MESSAGE_TYPE: &'static str = "";
    fn encode(
        _: &M,
    ) -> ::std::result::Result<
        ::std::boxed::Box<::eventfold_es::__private::RawValue>,
        ::std::string::String,
    > {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl ::eventfold_es::FailurePolicy for ReservationSaga {}
#[automatically_derived]
impl ::eventfold_es::contract::StateVersioned for ReservationSaga {}
#[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
enum ReservationSagaEnvelope {}
#[automatically_derived]
impl ::eventfold_es::contract::Dispatch for ReservationSagaEnvelope {
    fn targets(_: &mut impl ::eventfold_es::contract::TargetVisitor) {}
    fn route<R: ::eventfold_es::contract::Router>(self, _: R) -> R::Routed {
        ::std::unreachable!()
    }
}
