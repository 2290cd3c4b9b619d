#[automatically_derived]
impl my::es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &[
        "placed",
        "confirmed",
        "refused",
        "order_confirmed",
        "approved",
    ];
    const SCHEMAS: &'static [my::es::schema::EventSchema] = &[
        my::es::schema::EventSchema::new(
            "placed",
            my::es::schema::Shape::Struct(
                &[
                    my::es::schema::Field::new("sku", "String"),
                    my::es::schema::Field::new("qty", "u32"),
                ],
            ),
        ),
        my::es::schema::EventSchema::new("confirmed", my::es::schema::Shape::Unit)
            .also_named(&["order_confirmed", "approved"]),
        my::es::schema::EventSchema::new(
            "refused",
            my::es::schema::Shape::Tuple(&[my::es::schema::Field::new("0", "String")]),
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
        event: &my::es::__private::StoredEvent<'_>,
    ) -> ::std::result::Result<Self, my::es::EventError> {
        my::es::__private::StoredEvent::decode(event)
    }
}
