pub struct Order<T> {
    qty: T,
}
::core::compile_error! {
    "`#[aggregate]` does not go on a generic type: its stored name cannot mean several types; remove the parameters, and declare one type for each use"
}
#[automatically_derived]
impl<T> ::eventfold_es::Aggregate for Order<T>
where
    Self: ::std::default::Default + ::std::clone::Clone
        + ::eventfold_es::__private::Stored,
{
    const AGGREGATE_TYPE: &'static str = "";
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = OrderError;
    fn handle(
        &self,
        _: OrderCommand,
    ) -> ::std::result::Result<::std::vec::Vec<OrderEvent>, OrderError> {
        ::std::unreachable!()
    }
    fn apply(self, _: &OrderEvent) -> Self {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl<T> ::eventfold_es::DecidesWithContext for Order<T>
where
    Self: ::std::default::Default + ::std::clone::Clone
        + ::eventfold_es::__private::Stored,
{}
