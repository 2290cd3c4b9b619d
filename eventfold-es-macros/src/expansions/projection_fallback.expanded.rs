#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}
#[allow(non_upper_case_globals, reason = "it stands in until the mistake is mended")]
const __Sales_is_declared: bool = {
    ::core::compile_error! {
        "`subscribes` is empty: list the aggregates whose events it folds, as in `subscribes = [Order]`"
    }
    true
};
const _: ::std::marker::PhantomData<()> = ::std::marker::PhantomData;
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredProjection for Sales {
    type Declared = Self;
}
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredRows for Sales {
    type Declared = Self;
    type Key = ::eventfold_es::__private::Checked<(), { __Sales_is_declared }>;
}
#[automatically_derived]
impl ::eventfold_es::contract::DeclaredSink for Sales {
    type Declared = Self;
    type Sink = ::eventfold_es::__private::Checked<(), { __Sales_is_declared }>;
}
#[automatically_derived]
impl<A: ::eventfold_es::Aggregate> ::eventfold_es::__private::Subscribes<A> for Sales {}
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
