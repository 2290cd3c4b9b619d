#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &["order.placed", "Confirmed"];
    fn event_type(&self) -> &'static str {
        match self {
            Self::OrderPlaced { .. } => "order.placed",
            Self::Confirmed { .. } => "Confirmed",
        }
    }
}
