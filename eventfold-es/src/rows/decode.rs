//! Reads the stored form of a key.

use serde::de::value::U32Deserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use super::encode::EncodeError;

impl de::Error for EncodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

/// The key with these bytes.
pub(crate) fn decode<K: DeserializeOwned>(bytes: &[u8]) -> Result<K, EncodeError> {
    let mut decoder = Decoder { bytes };
    let key = K::deserialize(&mut decoder)?;
    match decoder.bytes {
        [] => Ok(key),
        _ => Err(EncodeError::new("its stored form is too long")),
    }
}

struct Decoder<'a> {
    bytes: &'a [u8],
}

fn too_short() -> EncodeError {
    EncodeError::new("its stored form is too short")
}

impl Decoder<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], EncodeError> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(too_short)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// Whether a value follows, or an end.
    fn has_value(&mut self) -> Result<bool, EncodeError> {
        match self.take()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [byte] => Err(EncodeError::new(format!("it has a mark of {byte}"))),
        }
    }

    fn text(&mut self) -> Result<Vec<u8>, EncodeError> {
        let mut text = Vec::new();
        loop {
            let zero = memchr::memchr(0, self.bytes).ok_or_else(too_short)?;
            let (before, rest) = self.bytes.split_at_checked(zero).ok_or_else(too_short)?;
            text.extend_from_slice(before);
            let (mark, rest) = rest.split_at_checked(2).ok_or_else(too_short)?;
            self.bytes = rest;
            match mark {
                [0, 0] => return Ok(text),
                _ => text.push(0),
            }
        }
    }
}

macro_rules! numbers {
    ($($method:ident => $visit:ident(|$number:ident: $as:ty| $decoded:expr);)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
            let $number = <$as>::from_be_bytes(self.take()?);
            visitor.$visit($decoded)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Decoder<'_> {
    type Error = EncodeError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, EncodeError> {
        Err(EncodeError::new(
            "its type asks for the type of the stored value, as `#[serde(untagged)]` does; use a plain enum",
        ))
    }

    numbers! {
        deserialize_u8 => visit_u8(|number: u8| number);
        deserialize_u16 => visit_u16(|number: u16| number);
        deserialize_u32 => visit_u32(|number: u32| number);
        deserialize_u64 => visit_u64(|number: u64| number);
        deserialize_u128 => visit_u128(|number: u128| number);
        deserialize_i8 => visit_i8(|number: i8| number ^ i8::MIN);
        deserialize_i16 => visit_i16(|number: i16| number ^ i16::MIN);
        deserialize_i32 => visit_i32(|number: i32| number ^ i32::MIN);
        deserialize_i64 => visit_i64(|number: i64| number ^ i64::MIN);
        deserialize_i128 => visit_i128(|number: i128| number ^ i128::MIN);
        deserialize_f32 => visit_f32(|number: u32| f32::from_bits(if number >> 31 == 1 { number & !(1 << 31) } else { !number }));
        deserialize_f64 => visit_f64(|number: u64| f64::from_bits(if number >> 63 == 1 { number & !(1 << 63) } else { !number }));
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        visitor.visit_bool(self.has_value()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        let number = u32::from_be_bytes(self.take()?);
        let read = char::from_u32(number);
        visitor.visit_char(read.ok_or_else(|| EncodeError::new("it has no valid character"))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        let text = String::from_utf8(self.text()?);
        visitor.visit_string(text.map_err(EncodeError::new)?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        visitor.visit_byte_buf(self.text()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        if self.has_value()? {
            visitor.visit_some(self)
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, EncodeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, EncodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        visitor.visit_seq(Marked(self))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        visitor.visit_map(Marked(self))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, EncodeError> {
        visitor.visit_seq(Fields(self, len))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, EncodeError> {
        visitor.visit_seq(Fields(self, len))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, EncodeError> {
        visitor.visit_seq(Fields(self, fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, EncodeError> {
        visitor.visit_enum(self)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, EncodeError> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Values with a mark before each.
struct Marked<'a, 'b>(&'a mut Decoder<'b>);

impl<'de> SeqAccess<'de> for Marked<'_, '_> {
    type Error = EncodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, EncodeError> {
        let has_value = self.0.has_value()?;
        has_value
            .then(|| seed.deserialize(&mut *self.0))
            .transpose()
    }
}

impl<'de> MapAccess<'de> for Marked<'_, '_> {
    type Error = EncodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, EncodeError> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, EncodeError> {
        seed.deserialize(&mut *self.0)
    }
}

/// A number of values, one after the other.
struct Fields<'a, 'b>(&'a mut Decoder<'b>, usize);

impl<'de> SeqAccess<'de> for Fields<'_, '_> {
    type Error = EncodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, EncodeError> {
        let Some(left) = self.1.checked_sub(1) else {
            return Ok(None);
        };
        self.1 = left;
        seed.deserialize(&mut *self.0).map(Some)
    }
}

impl<'de, 'a, 'b> EnumAccess<'de> for &'a mut Decoder<'b> {
    type Error = EncodeError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self), EncodeError> {
        let index = u32::from_be_bytes(self.take()?);
        let index: U32Deserializer<EncodeError> = index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'_> {
    type Error = EncodeError;

    fn unit_variant(self) -> Result<(), EncodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, EncodeError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, EncodeError> {
        visitor.visit_seq(Fields(self, len))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, EncodeError> {
        visitor.visit_seq(Fields(self, fields.len()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::{Deserialize, Serialize};

    use super::super::encode::{encode, prefix_of_text};
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    enum Kind {
        Unit,
        One(i16),
        Two(String, u8),
        Fields { a: Option<bool>, b: Vec<u8> },
    }

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    struct Key {
        city: String,
        number: i64,
        kind: Kind,
    }

    /// The keys, in every pair, are in the same order as their bytes, and read back.
    fn check<K: Ord + Serialize + DeserializeOwned + Debug>(keys: &[K]) {
        let encoded: Vec<_> = keys.iter().map(|key| encode(key).unwrap()).collect();
        for (key, bytes) in keys.iter().zip(&encoded) {
            assert_eq!(*key, decode::<K>(bytes).unwrap());
            assert!(decode::<K>(&[bytes.as_slice(), &[7]].concat()).is_err());
            for (other, other_bytes) in keys.iter().zip(&encoded) {
                assert_eq!(
                    key.cmp(other),
                    bytes.cmp(other_bytes),
                    "{key:?} and {other:?}"
                );
            }
        }
    }

    #[test]
    fn bytes_are_in_the_order_of_the_keys_and_read_back() {
        check(&[i8::MIN, -1, 0, 1, i8::MAX]);
        check(&[i64::MIN, -256, -255, -1, 0, 1, 255, 256, i64::MAX]);
        check(&[i128::MIN, -1, 0, i128::MAX]);
        check(&[0, 1, 255, 256, u64::MAX]);
        check(&[false, true]);
        check(&['\0', 'a', 'ä', '\u{10FFFF}']);
        let texts = [
            "", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "a\u{1}", "aa", "ab", "b", "ä",
        ];
        check(&texts.map(str::to_owned));
        let pairs = texts.iter().flat_map(|a| texts.map(|b| (*a, b)));
        check(
            &pairs
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect::<Vec<_>>(),
        );
        check(&[vec![], vec![0], vec![0, 0], vec![0, 1], vec![1], vec![255]]);
        check(&[None, Some(None), Some(Some(0)), Some(Some(1))]);
        check(&[
            BTreeMap::new(),
            BTreeMap::from([(1, 2)]),
            BTreeMap::from([(1, 2), (3, 0)]),
            BTreeMap::from([(2, 0)]),
        ]);
        let kinds = [
            Kind::Unit,
            Kind::One(-3),
            Kind::One(4),
            Kind::Two(String::new(), 1),
            Kind::Two("a".into(), 0),
            Kind::Fields { a: None, b: vec![] },
            Kind::Fields {
                a: Some(false),
                b: vec![1],
            },
        ];
        let keys = kinds.iter().flat_map(|kind| {
            let kind = kind.clone();
            ["", "a"].map(|city| Key {
                city: city.into(),
                number: -1,
                kind: kind.clone(),
            })
        });
        check(&keys.collect::<Vec<_>>());
    }

    #[test]
    fn floats_are_in_their_total_order() {
        let floats = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 1.0, f64::MAX];
        let encoded = floats.map(|float| encode(&float).unwrap());
        assert!(encoded.is_sorted());
        let read = encoded.map(|bytes| decode::<f64>(&bytes).unwrap().to_bits());
        assert_eq!(read, floats.map(f64::to_bits));
        let read = decode::<f32>(&encode(&-2.5_f32).unwrap());
        assert_eq!(read, Ok(-2.5));
    }

    #[test]
    fn a_prefix_of_a_text_is_one_of_its_bytes() {
        for (prefix, text) in [("", "a"), ("a", "a"), ("a", "ab"), ("\0", "\0b")] {
            assert!(encode(text).unwrap().starts_with(&prefix_of_text(prefix)));
        }
        assert!(!encode("b").unwrap().starts_with(&prefix_of_text("a")));
    }

    #[test]
    fn bytes_that_are_no_key_are_an_error() {
        for bytes in [&[][..], b"a", b"a\0", &[0xFF, 0, 0], b"a\0\0\x01"] {
            assert!(decode::<String>(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode::<Kind>(&[0, 0, 0, 9]).is_err());
        assert!(decode::<Option<u8>>(&[2]).is_err());
        assert!(decode::<char>(&[0xFF; 4]).is_err());
    }
}
