::core::compile_error! {
    "serde has no rule `snake`: write one of `lowercase`, `UPPERCASE`, `PascalCase`, `camelCase`, `snake_case`, `SCREAMING_SNAKE_CASE`, `kebab-case`, `SCREAMING-KEBAB-CASE`"
}
#[automatically_derived]
impl ::eventfold_es::prelude::Serialize for OrderEvent {
    fn serialize<S: ::eventfold_es::__private::Serializer>(
        &self,
        _: S,
    ) -> ::std::result::Result<S::Ok, S::Error> {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl<'de> ::eventfold_es::prelude::Deserialize<'de> for OrderEvent {
    fn deserialize<D: ::eventfold_es::__private::Deserializer<'de>>(
        _: D,
    ) -> ::std::result::Result<Self, D::Error> {
        ::std::unreachable!()
    }
}
#[automatically_derived]
impl ::eventfold_es::DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &[];
    fn event_type(&self) -> &'static str {
        ::std::unreachable!()
    }
}
