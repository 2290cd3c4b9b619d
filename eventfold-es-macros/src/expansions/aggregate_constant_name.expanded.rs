#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
}
#[automatically_derived]
impl ::eventfold_es::Aggregate for Order {
    const AGGREGATE_TYPE: &'static str = names::ORDER;
    const STATE: ::eventfold_es::schema::Shape = ::eventfold_es::schema::Shape::Struct(
        &[::eventfold_es::schema::Field::new("qty", "u32")],
    );
    const COMMAND_TYPE: &'static str = "OrderCommand";
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = ::eventfold_es::__private::Checked<
        OrderError,
        { ::eventfold_es::__private::is_rejection::<OrderError>() },
    >;
    fn handle(
        &self,
        command: OrderCommand,
    ) -> ::std::result::Result<::std::vec::Vec<OrderEvent>, OrderError> {
        <Self as ::eventfold_es::Decider>::decide(self, command)
    }
    fn apply(mut self, event: &OrderEvent) -> Self {
        <Self as ::eventfold_es::Decider>::evolve(&mut self, event);
        self
    }
    fn is_same(&self, other: &Self) -> ::std::option::Option<bool> {
        ::eventfold_es::__private::is_same!(self, other)
    }
    fn fingerprint(command: &OrderCommand) -> ::std::option::Option<u64> {
        ::eventfold_es::__private::fingerprint!(command)
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::DecidedBy for OrderCommand {
    type Aggregate = Order;
}
const _: () = ::std::assert!(
    ::eventfold_es::names::is_storable(< Order as ::eventfold_es::Aggregate >
    ::AGGREGATE_TYPE),
    "this name cannot be stored: a stored name is 1 to 100 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`, does not start with `.` or `-`, does not end with `.`, and is no device name of Windows"
);
