#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}
::core::compile_error! {
    "`subscribes` is empty: list the aggregates whose events it folds, as in `subscribes = [Order]`"
}
const _: ::std::marker::PhantomData<()> = ::std::marker::PhantomData;
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredProjection for Sales {
    type Declared = Self;
}
#[automatically_derived]
impl ::eventfold_es::Projection for Sales {
    const NAME: &'static str = "";
    fn apply(
        &mut self,
        _: &str,
        _: &str,
        _: &::eventfold_es::RecordedEvent,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::ProjectError> {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl<A: ::eventfold_es::Aggregate> ::eventfold_es::__private::Subscribes<A> for Sales {}
