#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sales {
    pub units: u64,
}
#[allow(non_upper_case_globals, reason = "it stands in until the mistake is mended")]
const __Sales_is_declared: bool = {
    ::core::compile_error! {
        "`sink` takes a type, without quotes: write `sink = Sqlite`"
    }
    true
};
const _: ::std::marker::PhantomData<(Order,)> = ::std::marker::PhantomData;
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
impl ::eventfold_es::contract::SinkProjection for Sales {
    type Sink = <Self as ::eventfold_es::contract::DeclaredSink>::Sink;
    const NAME: &'static str = "";
    const SUBSCRIPTIONS: &'static [&'static str] = &[];
    fn prepare(
        _: &mut ::eventfold_es::contract::TxOf<'_, Self>,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::SinkErrorOf<Self>> {
        ::std::unreachable!()
    }
    fn apply(
        _: &str,
        _: &str,
        _: &::eventfold_es::__private::StoredEvent<'_>,
        _: &mut ::eventfold_es::contract::TxOf<'_, Self>,
    ) -> ::std::result::Result<
        (),
        ::eventfold_es::contract::SinkError<::eventfold_es::contract::SinkErrorOf<Self>>,
    > {
        ::std::unreachable!()
    }
}
