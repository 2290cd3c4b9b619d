#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
}
#[automatically_derived]
impl my::es::Aggregate for Order {
    const AGGREGATE_TYPE: &'static str = "sales.order";
    const SNAPSHOT_VERSION: u32 = 2;
    const STATE: my::es::schema::Shape = my::es::schema::Shape::Struct(
        &[my::es::schema::Field::new("qty", "u32")],
    );
    const COMMAND_TYPE: &'static str = "Order";
    type Command = Order;
    type DomainEvent = events::Happened;
    type Error = my::es::__private::Checked<
        Box<OrderError>,
        { my::es::__private::is_rejection::<Box<OrderError>>() },
    >;
    fn handle(
        &self,
        command: Order,
    ) -> ::std::result::Result<::std::vec::Vec<events::Happened>, Box<OrderError>> {
        <Self as my::es::ContextDecider>::decide(
            self,
            command,
            &my::es::Deciding::new(""),
        )
    }
    fn handle_with(
        &self,
        command: Order,
        cx: &my::es::Deciding<'_>,
    ) -> ::std::result::Result<::std::vec::Vec<events::Happened>, Box<OrderError>> {
        <Self as my::es::ContextDecider>::decide(self, command, cx)
    }
    fn apply(mut self, event: &events::Happened) -> Self {
        <Self as my::es::ContextDecider>::evolve(&mut self, event);
        self
    }
    fn is_same(&self, other: &Self) -> ::std::option::Option<bool> {
        my::es::__private::is_same!(self, other)
    }
    fn fingerprint(command: &Order) -> ::std::option::Option<u64> {
        my::es::__private::fingerprint_by(events::intent, command)
    }
}
#[automatically_derived]
impl my::es::contract::DecidesWithContext for Order {}
#[automatically_derived]
impl my::es::contract::DecidedBy for Order {
    type Aggregate = Order;
}
