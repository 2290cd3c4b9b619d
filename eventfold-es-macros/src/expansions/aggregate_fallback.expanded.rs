#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
}
::core::compile_error! {
    "unknown argument `colour`: `#[aggregate]` takes `name`, `command`, `event`, `error`, `snapshot_version`, `fingerprint`, `context`, `crate`"
}
#[automatically_derived]
impl ::eventfold_es::Aggregate for Order {
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
impl ::eventfold_es::DecidesWithContext for Order {}
#[automatically_derived]
impl ::eventfold_es::DecidedBy for OrderCommand {
    type Aggregate = Order;
}
