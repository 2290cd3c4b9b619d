#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
}
#[automatically_derived]
impl ::eventfold_es::Aggregate for Order {
    const AGGREGATE_TYPE: &'static str = "order";
    const SNAPSHOT_VERSION: u32 = 2;
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
