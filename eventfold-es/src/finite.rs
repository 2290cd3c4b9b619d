//! Encoding as JSON, without values that JSON cannot hold: numbers that are not finite or too large, and endless
//! nesting.
//!
//! serde_json writes NaN and the infinities as `null`, so that an `Option<f64>` silently comes back as `None`. This
//! module refuses such numbers and reports their place. It also refuses a value that nests too deeply to be read back,
//! on the way down, before the stack overflows. The inner serializer does everything else.

use std::cell::RefCell;
use std::fmt::Display;

use serde::ser::{self, Error as _, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::nesting::{MAX_DEPTH, TOO_DEEP, is_deeper};

/// Encodes a value as JSON in memory.
///
/// # Errors
///
/// A number that JSON cannot hold, with its place; nesting that cannot be read back; otherwise the error of serde.
pub(crate) fn to_value(value: &impl Serialize) -> Result<Value, serde_json::Error> {
    checked(value, |value| serde_json::to_value(value))
}

/// Encodes a value of the user as JSON text.
///
/// # Errors
///
/// As [`to_value`]; more than [`MAX_DEPTH`] levels.
pub(crate) fn to_raw_value(value: &impl Serialize) -> Result<Box<RawValue>, serde_json::Error> {
    let encoded = to_raw_value_around(value)?;
    match is_deeper(encoded.get(), MAX_DEPTH) {
        false => Ok(encoded),
        true => Err(serde_json::Error::custom(TOO_DEEP)),
    }
}

/// Appends a value of the user to `json`, as JSON text.
///
/// # Errors
///
/// As [`to_raw_value`]. `json` may then end in a part of the value.
pub(crate) fn append_to(
    json: &mut Vec<u8>,
    value: &impl Serialize,
) -> Result<(), serde_json::Error> {
    let start = json.len();
    checked(value, |value| serde_json::to_writer(&mut *json, &value))?;
    let encoded = json.get(start..).map(std::str::from_utf8);
    match encoded.is_some_and(|text| text.is_ok_and(|text| !is_deeper(text, MAX_DEPTH))) {
        true => Ok(()),
        false => Err(serde_json::Error::custom(TOO_DEEP)),
    }
}

/// Encodes a value of the store that contains values of the user.
///
/// # Errors
///
/// As [`to_value`].
pub(crate) fn to_raw_value_around(
    value: &impl Serialize,
) -> Result<Box<RawValue>, serde_json::Error> {
    checked(value, |value| serde_json::value::to_raw_value(&value))
}

fn checked<T: Serialize, R>(
    value: &T,
    encode: impl FnOnce(Checked<'_, T>) -> Result<R, serde_json::Error>,
) -> Result<R, serde_json::Error> {
    let trace = Trace::default();
    let encoded = encode(Checked {
        value,
        trace: &trace,
        depth: 0,
    });
    encoded.map_err(|error| match trace.0.into_inner() {
        Some(refused) => serde_json::Error::custom(refused.reason()),
        None => error,
    })
}

/// The maximum depth of serialization. It is more than can be stored, and far from the end of the stack.
const MAX_FOLLOWED: u32 = 128;

/// The place of a refused number. It is collected while the error returns through the surrounding values, so that
/// success costs nothing.
#[derive(Default)]
struct Trace(RefCell<Option<Refused>>);

struct Refused {
    number: String,
    /// The names and indexes around the number, innermost first.
    place: Vec<String>,
}

impl Refused {
    fn reason(&self) -> String {
        let place: String = self.place.iter().rev().map(String::as_str).collect();
        let place = match place.strip_prefix('.').unwrap_or(&place) {
            "" => "it".to_owned(),
            place => format!("`{place}`"),
        };
        format!(
            "{place} is {}, which is no number in JSON and would not come back",
            self.number
        )
    }
}

impl Trace {
    fn refuse<E: ser::Error>(&self, number: impl Display) -> E {
        let error = E::custom(format_args!("{number} is no number in JSON"));
        *self.0.borrow_mut() = Some(Refused {
            number: number.to_string(),
            place: Vec::new(),
        });
        error
    }

    fn inside(&self, part: impl FnOnce() -> String) {
        if let Some(refused) = &mut *self.0.borrow_mut() {
            refused.place.push(part());
        }
    }

    fn at_field(&self, name: &str) {
        self.inside(|| format!(".{name}"));
    }

    fn at_index(&self, index: usize) {
        self.inside(|| format!("[{index}]"));
    }

    fn at_key(&self, key: &(impl Serialize + ?Sized)) {
        self.inside(|| match serde_json::to_value(key) {
            Ok(Value::String(key)) => format!(".{key}"),
            Ok(key) => format!("[{key}]"),
            Err(_) => "[..]".to_owned(),
        });
    }
}

/// A value that checks its parts while it is serialized.
struct Checked<'a, T: ?Sized> {
    value: &'a T,
    trace: &'a Trace,
    depth: u32,
}

impl<T: Serialize + ?Sized> Serialize for Checked<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checking {
            inner: serializer,
            trace: self.trace,
            depth: self.depth,
        })
    }
}

/// A serializer that passes accepted values to the inner serializer.
struct Checking<'a, S> {
    inner: S,
    trace: &'a Trace,
    depth: u32,
}

impl<'a, S> Checking<'a, S> {
    /// The depth of the values inside this value.
    fn inside<E: ser::Error>(&self) -> Result<u32, E> {
        if self.depth < MAX_FOLLOWED {
            Ok(self.depth + 1)
        } else {
            Err(E::custom(TOO_DEEP))
        }
    }

    fn parts<C>(
        self,
        begin: impl FnOnce(S) -> Result<C, S::Error>,
    ) -> Result<Parts<'a, C>, S::Error>
    where
        S: Serializer,
    {
        let depth = self.inside()?;
        Ok(Parts {
            inner: begin(self.inner)?,
            trace: self.trace,
            depth,
            variant: None,
            index: 0,
        })
    }
}

/// The parts of a list, a map or a struct.
struct Parts<'a, C> {
    inner: C,
    trace: &'a Trace,
    depth: u32,
    /// The name of the variant that they belong to, if any.
    variant: Option<&'static str>,
    index: usize,
}

impl<'a, C> Parts<'a, C> {
    fn part<'t, T: ?Sized>(&self, value: &'t T) -> Checked<'t, T>
    where
        'a: 't,
    {
        Checked {
            value,
            trace: self.trace,
            depth: self.depth,
        }
    }

    fn of_variant(mut self, name: &'static str) -> Self {
        self.variant = Some(name);
        self
    }

    fn leave(&self) {
        if let Some(name) = self.variant {
            self.trace.at_field(name);
        }
    }
}

macro_rules! pass_on {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            fn $method(self $(, $argument: $type)*) -> Result<Self::Ok, Self::Error> {
                self.inner.$method($($argument),*)
            }
        )*
    };
}

impl<'a, S: Serializer> Serializer for Checking<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'a, S::SerializeSeq>;
    type SerializeTuple = Parts<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'a, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'a, S::SerializeMap>;
    type SerializeStruct = Parts<'a, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'a, S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            self.inner.serialize_f32(value)
        } else {
            Err(self.trace.refuse(value))
        }
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            self.inner.serialize_f64(value)
        } else {
            Err(self.trace.refuse(value))
        }
    }

    fn serialize_i128(self, value: i128) -> Result<S::Ok, S::Error> {
        // serde_json supports these integers in text, but not in memory.
        let done = self.inner.serialize_i128(value);
        done.map_err(|_| self.trace.refuse(value))
    }

    fn serialize_u128(self, value: u128) -> Result<S::Ok, S::Error> {
        let done = self.inner.serialize_u128(value);
        done.map_err(|_| self.trace.refuse(value))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let Self { trace, depth, .. } = self;
        let value = Checked {
            value,
            trace,
            depth,
        };
        self.inner.serialize_some(&value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Self { trace, depth, .. } = self;
        let value = Checked {
            value,
            trace,
            depth,
        };
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.inside()?;
        let trace = self.trace;
        let value = Checked {
            value,
            trace,
            depth,
        };
        let done = self
            .inner
            .serialize_newtype_variant(name, index, variant, &value);
        done.inspect_err(|_| trace.at_field(variant))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.parts(|inner| inner.serialize_seq(length))
    }

    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.parts(|inner| inner.serialize_tuple(length))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.parts(|inner| inner.serialize_tuple_struct(name, length))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let parts = self.parts(|inner| inner.serialize_tuple_variant(name, index, variant, length));
        parts.map(|parts| parts.of_variant(variant))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.parts(|inner| inner.serialize_map(length))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.parts(|inner| inner.serialize_struct(name, length))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let parts =
            self.parts(|inner| inner.serialize_struct_variant(name, index, variant, length));
        parts.map(|parts| parts.of_variant(variant))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident;)*) => {
        $(
            impl<C: ser::$trait> ser::$trait for Parts<'_, C> {
                type Ok = C::Ok;
                type Error = C::Error;

                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                    let trace = self.trace;
                    let index = self.index;
                    self.index += 1;
                    let done = self.inner.$method(&self.part(value));
                    done.inspect_err(|_| {
                        trace.at_index(index);
                        self.leave();
                    })
                }

                fn end(self) -> Result<C::Ok, C::Error> {
                    self.inner.end()
                }
            }
        )*
    };
}

elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! fields {
    ($($trait:ident;)*) => {
        $(
            impl<C: ser::$trait> ser::$trait for Parts<'_, C> {
                type Ok = C::Ok;
                type Error = C::Error;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), C::Error> {
                    let trace = self.trace;
                    let done = self.inner.serialize_field(name, &self.part(value));
                    done.inspect_err(|_| {
                        trace.at_field(name);
                        self.leave();
                    })
                }

                fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
                    self.inner.skip_field(name)
                }

                fn end(self) -> Result<C::Ok, C::Error> {
                    self.inner.end()
                }
            }
        )*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl<C: ser::SerializeMap> ser::SerializeMap for Parts<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let trace = self.trace;
        let done = self.inner.serialize_value(&self.part(value));
        done.inspect_err(|_| trace.inside(|| "[..]".to_owned()))
    }

    fn serialize_entry<K: Serialize + ?Sized, T: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &T,
    ) -> Result<(), C::Error> {
        let trace = self.trace;
        let done = self.inner.serialize_entry(key, &self.part(value));
        done.inspect_err(|_| trace.at_key(key))
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
