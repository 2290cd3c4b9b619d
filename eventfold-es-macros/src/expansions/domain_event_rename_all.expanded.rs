#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &["ORDER-PLACED", "CONFIRMED"];
    fn event_type(&self) -> &'static str {
        match self {
            Self::OrderPlaced { .. } => "ORDER-PLACED",
            Self::Confirmed { .. } => "CONFIRMED",
        }
    }
}
