#[automatically_derived]
impl ::eventfold_es::DomainEvent for Never {
    const EVENT_TYPES: &'static [&'static str] = &[];
    fn event_type(&self) -> &'static str {
        match *self {}
    }
    fn from_stored(
        event: &::eventfold_es::__private::StoredEvent<'_>,
    ) -> ::std::result::Result<Self, ::eventfold_es::EventError> {
        ::eventfold_es::__private::StoredEvent::decode(event)
    }
}
