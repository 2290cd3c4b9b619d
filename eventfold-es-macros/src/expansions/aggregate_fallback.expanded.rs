#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
}
#[automatically_derived]
impl ::eventfold_es::Aggregate for Order {
    const AGGREGATE_TYPE: &'static str = "";
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = ::eventfold_es::__private::Checked<
        (),
        {
            ::core::compile_error! {
                "unknown argument `colour`: `#[aggregate]` takes `name`, `command`, `event`, `error`, `snapshot_version`, `fingerprint`, `context`, `crate`"
            }
            true
        },
    >;
    fn handle(
        &self,
        _: OrderCommand,
    ) -> ::std::result::Result<::std::vec::Vec<OrderEvent>, ()> {
        ::std::unreachable!()
    }
    fn apply(self, _: &OrderEvent) -> Self {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl ::eventfold_es::contract::DecidesWithContext for Order {}
#[automatically_derived]
impl ::eventfold_es::contract::DecidedBy for OrderCommand {
    type Aggregate = Order;
}
