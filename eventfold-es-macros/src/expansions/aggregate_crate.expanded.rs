#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
}
#[automatically_derived]
impl my::es::Aggregate for Order {
    const AGGREGATE_TYPE: &'static str = "order";
    const STATE: my::es::schema::Shape = my::es::schema::Shape::Struct(
        &[my::es::schema::Field::new("qty", "u32")],
    );
    const COMMAND_TYPE: &'static str = "OrderCommand";
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = my::es::__private::Checked<
        OrderError,
        { my::es::__private::is_rejection::<OrderError>() },
    >;
    fn handle(
        &self,
        command: OrderCommand,
    ) -> ::std::result::Result<::std::vec::Vec<OrderEvent>, OrderError> {
        <Self as my::es::Decider>::decide(self, command)
    }
    fn apply(mut self, event: &OrderEvent) -> Self {
        <Self as my::es::Decider>::evolve(&mut self, event);
        self
    }
    fn is_same(&self, other: &Self) -> ::std::option::Option<bool> {
        my::es::__private::is_same!(self, other)
    }
    fn fingerprint(command: &OrderCommand) -> ::std::option::Option<u64> {
        my::es::__private::fingerprint!(command)
    }
}
#[automatically_derived]
impl my::es::contract::DecidedBy for OrderCommand {
    type Aggregate = Order;
}
