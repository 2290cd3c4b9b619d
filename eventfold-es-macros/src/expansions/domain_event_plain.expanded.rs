#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &["OrderPlaced", "Confirmed"];
    const SCHEMAS: &'static [::eventfold_es::schema::EventSchema] = &[
        ::eventfold_es::schema::EventSchema::new(
            "OrderPlaced",
            ::eventfold_es::schema::Shape::Struct(
                &[::eventfold_es::schema::Field::new("qty", "u32")],
            ),
        ),
        ::eventfold_es::schema::EventSchema::new(
            "Confirmed",
            ::eventfold_es::schema::Shape::Unit,
        ),
    ];
    fn event_type(&self) -> &'static str {
        match self {
            Self::OrderPlaced { .. } => "OrderPlaced",
            Self::Confirmed { .. } => "Confirmed",
        }
    }
    fn from_stored(
        event: &::eventfold_es::__private::StoredEvent<'_>,
    ) -> ::std::result::Result<Self, ::eventfold_es::EventError> {
        ::eventfold_es::__private::StoredEvent::decode(event)
    }
}
