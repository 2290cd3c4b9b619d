/// Two in the morning in Berlin.
#[derive(Debug)]
pub struct Nightly {
    occurrences: my::es::contract::Occurrences,
}
#[automatically_derived]
impl ::std::clone::Clone for Nightly {
    fn clone(&self) -> Self {
        Self {
            occurrences: ::std::clone::Clone::clone(&self.occurrences),
        }
    }
}
#[automatically_derived]
impl ::std::default::Default for Nightly {
    fn default() -> Self {
        Self {
            occurrences: ::std::default::Default::default(),
        }
    }
}
#[automatically_derived]
impl my::es::prelude::Serialize for Nightly {
    fn serialize<S: my::es::__private::Serializer>(
        &self,
        serializer: S,
    ) -> ::std::result::Result<S::Ok, S::Error> {
        my::es::prelude::Serialize::serialize(&self.occurrences, serializer)
    }
}
#[automatically_derived]
impl<'de> my::es::prelude::Deserialize<'de> for Nightly {
    fn deserialize<D: my::es::__private::Deserializer<'de>>(
        deserializer: D,
    ) -> ::std::result::Result<Self, D::Error> {
        let occurrences = my::es::prelude::Deserialize::deserialize(deserializer)?;
        ::std::result::Result::Ok(Self { occurrences })
    }
}
#[automatically_derived]
impl my::es::Aggregate for Nightly {
    const AGGREGATE_TYPE: &'static str = "night";
    const STATE: my::es::schema::Shape = my::es::contract::Occurrences::SHAPE;
    const IS_SCHEDULE: bool = true;
    type Command = my::es::contract::Due;
    type DomainEvent = my::es::Occurrence;
    type Error = my::es::contract::NotDue;
    fn handle(
        &self,
        command: my::es::contract::Due,
    ) -> ::std::result::Result<
        ::std::vec::Vec<my::es::Occurrence>,
        my::es::contract::NotDue,
    > {
        my::es::contract::Occurrences::decide(&self.occurrences, command)
    }
    fn apply(mut self, event: &my::es::Occurrence) -> Self {
        my::es::contract::Occurrences::evolve(&mut self.occurrences, event);
        self
    }
    fn is_same(&self, other: &Self) -> ::std::option::Option<bool> {
        ::std::option::Option::Some(self.occurrences == other.occurrences)
    }
}
#[automatically_derived]
impl my::es::Schedule for Nightly {
    fn timetable() -> ::std::result::Result<my::es::Timetable, my::es::TimetableError> {
        let timetable = my::es::Timetable::new(times::NIGHTLY)?;
        let timetable = my::es::Timetable::in_time_zone(timetable, "Europe/Berlin")?;
        ::std::result::Result::Ok(
            my::es::Timetable::missed(timetable, my::es::Missed::All),
        )
    }
    fn occurrences(&self) -> &my::es::contract::Occurrences {
        &self.occurrences
    }
}
