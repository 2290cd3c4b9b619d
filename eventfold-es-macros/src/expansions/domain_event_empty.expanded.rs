#[automatically_derived]
impl ::eventfold_es::DomainEvent for Never {
    const EVENT_TYPES: &'static [&'static str] = &[];
    fn event_type(&self) -> &'static str {
        match *self {}
    }
}
