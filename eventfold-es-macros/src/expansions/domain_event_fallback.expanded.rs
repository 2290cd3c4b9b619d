::core::compile_error! {
    "an event is stored as `{type, data}`: write `#[serde(tag = \"type\", content = \"data\")]` on `OrderEvent`"
}
#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &[];
    fn event_type(&self) -> &'static str {
        ::std::unreachable!()
    }
}
