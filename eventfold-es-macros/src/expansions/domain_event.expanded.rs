#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &[
        "placed",
        "confirmed",
        "refused",
        "order_confirmed",
        "approved",
    ];
    fn event_type(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "placed",
            Self::Confirmed { .. } => "confirmed",
            Self::Rejected { .. } => "refused",
        }
    }
}
