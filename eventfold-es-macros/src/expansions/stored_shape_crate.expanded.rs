#[automatically_derived]
impl my::es::schema::StoredShape for Money {
    const SHAPE: my::es::schema::Shape = my::es::schema::Shape::Enum(
        &[
            my::es::schema::Variant::new(
                    "Cents",
                    my::es::schema::Shape::Tuple(
                        &[my::es::schema::Field::new("0", "u64")],
                    ),
                )
                .also_named(&["Amount"]),
            my::es::schema::Variant::new("Free", my::es::schema::Shape::Unit),
        ],
    );
}
