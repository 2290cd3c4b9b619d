#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &["placed", "Confirmed", "Placed"];
    fn event_type(&self) -> &'static str {
        match self {
            Self::OrderPlaced { .. } => "placed",
            Self::Confirmed { .. } => "Confirmed",
        }
    }
}
