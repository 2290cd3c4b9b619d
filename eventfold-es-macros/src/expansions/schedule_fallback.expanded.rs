/// Two in the morning in Berlin.
#[derive(Debug)]
pub struct Nightly {
    occurrences: ::eventfold_es::contract::Occurrences,
}
::core::compile_error! {
    "`cron` takes a string, or the path of a `&str` constant: write `cron = \"0 2 * * *\"`"
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
impl ::eventfold_es::prelude::Serialize for Nightly {
    fn serialize<S: ::eventfold_es::__private::Serializer>(
        &self,
        serializer: S,
    ) -> ::std::result::Result<S::Ok, S::Error> {
        ::eventfold_es::prelude::Serialize::serialize(&self.occurrences, serializer)
    }
}
#[automatically_derived]
impl<'de> ::eventfold_es::prelude::Deserialize<'de> for Nightly {
    fn deserialize<D: ::eventfold_es::__private::Deserializer<'de>>(
        deserializer: D,
    ) -> ::std::result::Result<Self, D::Error> {
        let occurrences = ::eventfold_es::prelude::Deserialize::deserialize(
            deserializer,
        )?;
        ::std::result::Result::Ok(Self { occurrences })
    }
}
#[automatically_derived]
impl ::eventfold_es::Aggregate for Nightly {
    const AGGREGATE_TYPE: &'static str = "";
    const STATE: ::eventfold_es::schema::Shape = ::eventfold_es::contract::Occurrences::SHAPE;
    const IS_SCHEDULE: bool = true;
    type Command = ::eventfold_es::contract::Due;
    type DomainEvent = ::eventfold_es::Occurrence;
    type Error = ::eventfold_es::contract::NotDue;
    fn handle(
        &self,
        command: ::eventfold_es::contract::Due,
    ) -> ::std::result::Result<
        ::std::vec::Vec<::eventfold_es::Occurrence>,
        ::eventfold_es::contract::NotDue,
    > {
        ::eventfold_es::contract::Occurrences::decide(&self.occurrences, command)
    }
    fn apply(mut self, event: &::eventfold_es::Occurrence) -> Self {
        ::eventfold_es::contract::Occurrences::evolve(&mut self.occurrences, event);
        self
    }
    fn is_same(&self, other: &Self) -> ::std::option::Option<bool> {
        ::std::option::Option::Some(self.occurrences == other.occurrences)
    }
}
#[automatically_derived]
impl ::eventfold_es::Schedule for Nightly {
    fn timetable() -> ::std::result::Result<
        ::eventfold_es::Timetable,
        ::eventfold_es::TimetableError,
    > {
        ::std::unreachable!()
    }
    fn occurrences(&self) -> &::eventfold_es::contract::Occurrences {
        &self.occurrences
    }
}
