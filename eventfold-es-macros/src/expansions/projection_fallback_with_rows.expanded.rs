pub struct Sales {
    units: u64,
}
#[allow(non_upper_case_globals, reason = "it stands in until the mistake is mended")]
const __Sales_is_declared: bool = {
    ::core::compile_error! {
        "`Order` is listed twice in `subscribes`: remove this one"
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
    type Key = ::eventfold_es::__private::Checked<
        CustomerId,
        { ::eventfold_es::__private::is_row_key::<CustomerId>() },
    >;
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
    type Sink = ::eventfold_es::contract::RowSink<Self>;
    const NAME: &'static str = "";
    const SUBSCRIPTIONS: &'static [&'static str] = &[];
    fn prepare(
        _: &mut ::eventfold_es::contract::RowTx<'_, Self>,
    ) -> ::std::result::Result<(), ::eventfold_es::contract::RowsError> {
        ::std::unreachable!()
    }
    fn apply(
        _: &str,
        _: &str,
        _: &::eventfold_es::__private::StoredEvent<'_>,
        _: &mut ::eventfold_es::contract::RowTx<'_, Self>,
    ) -> ::std::result::Result<
        (),
        ::eventfold_es::contract::SinkError<::eventfold_es::contract::RowsError>,
    > {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::RowProjection for Sales {
    type Key = ::eventfold_es::contract::RowKeyOf<Self>;
}
#[allow(dead_code, private_interfaces, reason = "a program need not use all of it")]
impl Sales {
    /// The index of `Sales` over the values of `units`.
    pub const UNITS: ::eventfold_es::Index<Self, u64> = ::eventfold_es::Index::new(
        "units",
    );
}
