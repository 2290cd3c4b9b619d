pub struct Order<T> {
    qty: T,
}
::core::compile_error! {
    "`#[aggregate]` does not go on a generic type: its stored name cannot mean several types; remove the parameters, and declare one type for each use"
}
#[automatically_derived]
impl<T> ::eventfold_es::DeclaredAggregate for Order<T> {
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = OrderError;
}
#[automatically_derived]
impl<T> ::eventfold_es::DecidesWithContext for Order<T> {}
