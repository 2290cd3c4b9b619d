#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &[
        "placed",
        "Flagged",
        "Noted",
        "OrderPlaced",
    ];
    const SCHEMAS: &'static [::eventfold_es::schema::EventSchema] = {
        #[allow(
            unused_imports,
            reason = "each of the types may tell what it looks like"
        )]
        use ::eventfold_es::schema::NotRecorded as _;
        &[
            ::eventfold_es::schema::EventSchema::new(
                    "placed",
                    ::eventfold_es::schema::Shape::StrictStruct(
                        &[
                            ::eventfold_es::schema::Field::new("unitPrice", "u32"),
                            ::eventfold_es::schema::Field::new("note", "String")
                                .optional(),
                            ::eventfold_es::schema::Field::new("by", "Option<UserId>")
                                .optional()
                                .containing(
                                    &[
                                        ::eventfold_es::schema::NamedType::new(
                                            "UserId",
                                            ::eventfold_es::schema::Recorded::<UserId>::SHAPE,
                                        ),
                                    ],
                                ),
                        ],
                    ),
                )
                .also_named(&["OrderPlaced"])
                .version(3)
                .upcast_from(
                    &[
                        ::eventfold_es::schema::NamedType::new(
                            "past::PlacedV1",
                            ::eventfold_es::schema::Recorded::<past::PlacedV1>::SHAPE,
                        ),
                        ::eventfold_es::schema::NamedType::new(
                            "past::PlacedV2",
                            ::eventfold_es::schema::Recorded::<past::PlacedV2>::SHAPE,
                        ),
                    ],
                ),
            ::eventfold_es::schema::EventSchema::new(
                    "Flagged",
                    ::eventfold_es::schema::Shape::Unit,
                )
                .retired(),
            ::eventfold_es::schema::EventSchema::new(
                    "Noted",
                    ::eventfold_es::schema::Shape::Tuple(
                        &[
                            ::eventfold_es::schema::Field::new("0", "Text")
                                .in_form("with = \"text\""),
                        ],
                    ),
                )
                .version(2)
                .upcast_from(
                    &[
                        ::eventfold_es::schema::NamedType::new(
                            "()",
                            ::eventfold_es::schema::Recorded::<()>::SHAPE,
                        ),
                    ],
                ),
        ]
    };
    const UPCASTERS: &'static [::eventfold_es::evolution::Upcaster<Self>] = &[
        ::eventfold_es::evolution::Upcaster::new(
            &["placed", "OrderPlaced"],
            1,
            |data| {
                let event = <past::PlacedV1 as ::eventfold_es::evolution::PastShape>::read(
                    data,
                )?;
                let event = <past::PlacedV1 as ::eventfold_es::evolution::Upcast<
                    past::PlacedV2,
                >>::upcast(event);
                let event = <past::PlacedV2 as ::eventfold_es::evolution::Upcast<
                    OrderEvent,
                >>::upcast(event);
                ::std::result::Result::Ok(event)
            },
        ),
        ::eventfold_es::evolution::Upcaster::new(
            &["placed", "OrderPlaced"],
            2,
            |data| {
                let event = <past::PlacedV2 as ::eventfold_es::evolution::PastShape>::read(
                    data,
                )?;
                let event = <past::PlacedV2 as ::eventfold_es::evolution::Upcast<
                    OrderEvent,
                >>::upcast(event);
                ::std::result::Result::Ok(event)
            },
        ),
        ::eventfold_es::evolution::Upcaster::new(
            &["Noted"],
            1,
            |data| {
                let event = <() as ::eventfold_es::evolution::PastShape>::read(data)?;
                let event = <() as ::eventfold_es::evolution::Upcast<
                    OrderEvent,
                >>::upcast(event);
                ::std::result::Result::Ok(event)
            },
        ),
    ];
    fn event_type(&self) -> &'static str {
        match self {
            Self::Placed { .. } => "placed",
            Self::Flagged { .. } => "Flagged",
            Self::Noted { .. } => "Noted",
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
    impl ShapeOfOneVersion for past::PlacedV1 {}
    impl ShapeOfOneVersion for past::PlacedV2 {}
};
const _: () = {
    /// Implemented once for the shape of each version.
    #[allow(dead_code, reason = "it is there to be implemented once per type")]
    trait ShapeOfOneVersion {}
    impl ShapeOfOneVersion for OrderEvent {}
    impl ShapeOfOneVersion for () {}
};
