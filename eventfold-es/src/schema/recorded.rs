//! Types with a known stored shape. The lock detects their changes.

use std::fmt;
use std::marker::PhantomData;

use super::Shape;

/// A type with a known stored shape: the type of a field of an event or a state, an older shape of an event, or the message of
/// a deadline.
///
/// `#[derive(StoredShape)]` implements it from the type's serde attributes. A type without it has only its name in the lock.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::schema::{Field, Shape};
///
/// #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
/// #[serde(rename_all = "camelCase")]
/// struct Line { sku: String, unit_price: u32 }
///
/// const EXPECTED: Shape = Shape::Struct(&[Field::new("sku", "String"), Field::new("unitPrice", "u32")]);
/// assert_eq!(Line::SHAPE, EXPECTED);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not tell what it looks like in storage",
    label = "not a `StoredShape`",
    note = "put `#[derive(StoredShape)]` on `{Self}`"
)]
pub trait StoredShape {
    /// Its shape.
    const SHAPE: Shape;
}

/// A type that is named in a [`Shape`], with its own shape, if known.
#[derive(Clone, Copy)]
pub struct NamedType {
    /// Its name at its use.
    pub name: &'static str,
    /// A function, because a type may be recursive.
    shape: Option<fn() -> Shape>,
}

impl NamedType {
    /// The type `name`, with its shape; `None` if the shape is unknown.
    #[must_use]
    pub const fn new(name: &'static str, shape: Option<fn() -> Shape>) -> Self {
        Self { name, shape }
    }

    /// Its shape; [`Shape::Unknown`] if it is unknown.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape.map_or(Shape::Unknown, |shape| shape())
    }
}

/// Compares the name, and whether the shape is known. It does not compare the shape itself, since a type may be
/// recursive.
impl PartialEq for NamedType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.shape.is_some() == other.shape.is_some()
    }
}

impl Eq for NamedType {}

impl fmt::Debug for NamedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedType")
            .field("name", &self.name)
            .field("is_recorded", &self.shape.is_some())
            .finish()
    }
}

/// `Recorded::<Line>::SHAPE` is the shape of `Line`, if known. The inherent constant exists for each [`StoredShape`].
/// It takes precedence over the constant of [`NotRecorded`].
#[doc(hidden)]
pub struct Recorded<T: ?Sized>(PhantomData<T>);

impl<T: StoredShape + ?Sized> Recorded<T> {
    /// A type with a known shape.
    pub const SHAPE: Option<fn() -> Shape> = Some(|| T::SHAPE);
}

/// See [`Recorded`].
#[doc(hidden)]
pub trait NotRecorded {
    /// A type without a known shape.
    const SHAPE: Option<fn() -> Shape> = None;
}

impl<T: ?Sized> NotRecorded for Recorded<T> {}
