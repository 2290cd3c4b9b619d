/// Everything there is.
pub struct Shop;
::core::compile_error! {
    "unknown argument `sagas`: the process managers are listed as `process_managers = [ReservationSaga]`"
}
const _: ::std::marker::PhantomData<(Order,)> = ::std::marker::PhantomData;
const _: ::std::marker::PhantomData<(Saga,)> = ::std::marker::PhantomData;
const _: ::std::marker::PhantomData<()> = ::std::marker::PhantomData;
const _: ::std::marker::PhantomData<()> = ::std::marker::PhantomData;
#[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
pub enum ShopEvent {}
#[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
impl Shop {
    pub fn builder(
        _: impl ::std::convert::AsRef<::std::path::Path>,
    ) -> ::eventfold_es::AggregateStoreBuilder {
        ::std::unreachable!()
    }
    pub async fn open(
        _: impl ::std::convert::AsRef<::std::path::Path>,
    ) -> ::std::result::Result<
        ::eventfold_es::AggregateStore,
        ::eventfold_es::OpenError,
    > {
        ::std::unreachable!()
    }
    pub fn subscribe(
        _: &::eventfold_es::AggregateStore,
    ) -> ::eventfold_es::Subscription<::eventfold_es::Recorded<ShopEvent>> {
        ::std::unreachable!()
    }
    pub fn topology() -> &'static ::eventfold_es::topology::Topology {
        ::std::unreachable!()
    }
    pub fn schema() -> ::eventfold_es::schema::Schema {
        ::std::unreachable!()
    }
}
