//! The stored form of keys: bytes in the order of the keys.
//!
//! | of | bytes |
//! |---|---|
//! | `bool`, `char`, unsigned numbers | big-endian, in the width of the type |
//! | signed numbers | the same, with the sign bit flipped |
//! | floats | big-endian bits; all are flipped in a negative number, only the sign in a positive number |
//! | text, bytes | the bytes with `00 FF` for each zero, then `00 00` |
//! | `Option`, the items of a list or map | `00` for none or the end; `01` before a value |
//! | tuples, structs | the fields, one after the other |
//! | enums | the number of the variant as a `u32`, then its fields |

use serde::Serialize;
use serde::ser::{self, Serializer};

/// A key or an index value that has no stored form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key of a row cannot be stored: {reason}")]
pub struct EncodeError {
    reason: String,
}

impl EncodeError {
    pub(super) fn new(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
        }
    }
}

impl ser::Error for EncodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

/// The bytes of a key.
pub(crate) fn encode(key: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    encode_to(&mut bytes, key)?;
    Ok(bytes)
}

pub(super) fn encode_to(
    bytes: &mut Vec<u8>,
    key: &(impl Serialize + ?Sized),
) -> Result<(), EncodeError> {
    key.serialize(&mut Encoder { bytes })
}

/// The first bytes of all keys that begin with this text.
pub(crate) fn prefix_of_text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    escape(&mut bytes, text.as_bytes());
    bytes
}

fn escape(bytes: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        bytes.push(*byte);
        if *byte == 0 {
            bytes.push(0xFF);
        }
    }
}

struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), EncodeError> {
        escape(self.bytes, text);
        self.put(&[0, 0])
    }
}

macro_rules! numbers {
    ($($method:ident($value:ident: $number:ty) = $encoded:expr;)*) => {
        $(fn $method(self, $value: $number) -> Result<(), EncodeError> {
            self.put(&$encoded.to_be_bytes())
        })*
    };
}

impl Serializer for &mut Encoder<'_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers! {
        serialize_bool(value: bool) = u8::from(value);
        serialize_char(value: char) = u32::from(value);
        serialize_u8(value: u8) = value;
        serialize_u16(value: u16) = value;
        serialize_u32(value: u32) = value;
        serialize_u64(value: u64) = value;
        serialize_u128(value: u128) = value;
        serialize_i8(value: i8) = (value ^ i8::MIN);
        serialize_i16(value: i16) = (value ^ i16::MIN);
        serialize_i32(value: i32) = (value ^ i32::MIN);
        serialize_i64(value: i64) = (value ^ i64::MIN);
        serialize_i128(value: i128) = (value ^ i128::MIN);
    }

    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        let bits = value.to_bits();
        let flipped = if value.is_sign_negative() {
            !bits
        } else {
            bits | 1 << 31
        };
        self.put(&flipped.to_be_bytes())
    }

    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        let bits = value.to_bits();
        let flipped = if value.is_sign_negative() {
            !bits
        } else {
            bits | 1 << 63
        };
        self.put(&flipped.to_be_bytes())
    }

    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        self.text(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        self.text(value)
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.put(&[0])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        self.put(&[1])?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.put(&index.to_be_bytes())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.put(&index.to_be_bytes())?;
        value.serialize(self)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, EncodeError> {
        Ok(self)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self, EncodeError> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self, EncodeError> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self, EncodeError> {
        self.put(&index.to_be_bytes())?;
        Ok(self)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self, EncodeError> {
        Ok(self)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self, EncodeError> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self, EncodeError> {
        self.put(&index.to_be_bytes())?;
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl ser::SerializeSeq for &mut Encoder<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.put(&[1])?;
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.put(&[0])
    }
}

impl ser::SerializeMap for &mut Encoder<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.put(&[1])?;
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.put(&[0])
    }
}

/// Fields are written one after the other.
macro_rules! fields {
    ($($of:ident::$method:ident($($name:ident)?);)*) => {
        $(impl ser::$of for &mut Encoder<'_> {
            type Ok = ();
            type Error = EncodeError;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), EncodeError> {
                $(let _ = $name;)?
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), EncodeError> {
                Ok(())
            }
        })*
    };
}

fields! {
    SerializeTuple::serialize_element();
    SerializeTupleStruct::serialize_field();
    SerializeTupleVariant::serialize_field();
    SerializeStruct::serialize_field(name);
    SerializeStructVariant::serialize_field(name);
}
