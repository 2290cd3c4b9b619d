#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &["OrderPlaced", "Confirmed"];
    const SCHEMAS: &'static [::eventfold_es::schema::EventSchema] = {
        #[allow(
            unused_imports,
            reason = "each of the types may tell what it looks like"
        )]
        use ::eventfold_es::schema::NotRecorded as _;
        &[
            ::eventfold_es::schema::EventSchema::new(
                    "OrderPlaced",
                    ::eventfold_es::schema::Shape::Struct(
                        &[::eventfold_es::schema::Field::new("qty", "u32")],
                    ),
                )
                .version(2)
                .upcast_from(
                    &[
                        ::eventfold_es::schema::NamedType::new(
                            "PlacedV1",
                            ::eventfold_es::schema::Recorded::<PlacedV1>::SHAPE,
                        ),
                    ],
                ),
            ::eventfold_es::schema::EventSchema::new(
                "Confirmed",
                ::eventfold_es::schema::Shape::Unit,
            ),
        ]
    };
    const UPCASTERS: &'static [::eventfold_es::evolution::Upcaster<Self>] = &[
        ::eventfold_es::evolution::Upcaster::new(
            &["OrderPlaced"],
            1,
            |data| {
                let event = <PlacedV1 as ::eventfold_es::evolution::PastShape>::read(
                    data,
                )?;
                let event = <PlacedV1 as ::eventfold_es::evolution::Upcast<
                    OrderEvent,
                >>::upcast(event);
                ::std::result::Result::Ok(event)
            },
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
const _: () = {
    /// Implemented once for the shape of each version.
    #[allow(dead_code, reason = "it is there to be implemented once per type")]
    trait ShapeOfOneVersion {}
    impl ShapeOfOneVersion for OrderEvent {}
    impl ShapeOfOneVersion for PlacedV1 {}
};
