#[automatically_derived]
impl<T> ::eventfold_es::schema::StoredShape for Line<T> {
    const SHAPE: ::eventfold_es::schema::Shape = {
        #[allow(
            unused_imports,
            reason = "each of the types may tell what it looks like"
        )]
        use ::eventfold_es::schema::NotRecorded as _;
        ::eventfold_es::schema::Shape::Struct(
            &[
                ::eventfold_es::schema::Field::new("sku", "String"),
                ::eventfold_es::schema::Field::new("unitPrice", "Option<Money>")
                    .optional()
                    .containing(
                        &[
                            ::eventfold_es::schema::NamedType::new(
                                "Money",
                                ::eventfold_es::schema::Recorded::<Money>::SHAPE,
                            ),
                        ],
                    ),
                ::eventfold_es::schema::Field::new("labels", "Vec<T>"),
            ],
        )
    };
}
