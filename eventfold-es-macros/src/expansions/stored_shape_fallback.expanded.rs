::core::compile_error! {
    "`StoredShape` goes on a struct or an enum, and this is a union"
}
#[automatically_derived]
impl ::eventfold_es::schema::StoredShape for Bits {
    const SHAPE: ::eventfold_es::schema::Shape = ::eventfold_es::schema::Shape::Unknown;
}
