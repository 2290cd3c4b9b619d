#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &[
        "placed",
        "confirmed",
        "refused",
        "order_confirmed",
        "approved",
    ];
    const SCHEMAS: &'static [::eventfold_es::schema::EventSchema] = &[
        ::eventfold_es::schema::EventSchema::new(
            "placed",
            ::eventfold_es::schema::Shape::Struct(
                &[
                    ::eventfold_es::schema::Field::new("sku", "String"),
                    ::eventfold_es::schema::Field::new("qty", "u32"),
                ],
            ),
        ),
        ::eventfold_es::schema::EventSchema::new(
                "confirmed",
                ::eventfold_es::schema::Shape::Unit,
            )
            .also_named(&["order_confirmed", "approved"]),
        ::eventfold_es::schema::EventSchema::new(
            "refused",
            ::eventfold_es::schema::Shape::Tuple(
                &[::eventfold_es::schema::Field::new("0", "String")],
            ),
        ),
    ];
    fn event_type(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "placed",
            Self::Confirmed { .. } => "confirmed",
            Self::Rejected { .. } => "refused",
        }
    }
    fn from_stored(
        event: &::eventfold_es::__private::StoredEvent<'_>,
    ) -> ::std::result::Result<Self, ::eventfold_es::EventError> {
        ::eventfold_es::__private::StoredEvent::decode(event)
    }
}
