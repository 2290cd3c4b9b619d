//! Types that tell what they look like in storage, so that a change inside of them is seen.

use std::fmt;
use std::marker::PhantomData;

use super::Shape;

/// A type that tells what it looks like in storage: one that is a field of an event or a state, an older shape of an event, or
/// the message of a deadline.
///
/// `#[derive(StoredShape)]` implements it from the type's serde attributes. A type that does not has its name in the lock, and
/// nothing else.
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
    /// What it looks like.
    const SHAPE: Shape;
}

/// A type that is named in a [`Shape`], with what it looks like, if it tells.
#[derive(Clone, Copy)]
pub struct NamedType {
    /// What it is called where it is used.
    pub name: &'static str,
    /// A function, because a type may contain itself.
    shape: Option<fn() -> Shape>,
}

impl NamedType {
    /// A type that is called `name`, with its shape; `None` is one that does not tell.
    #[must_use]
    pub const fn new(name: &'static str, shape: Option<fn() -> Shape>) -> Self {
        Self { name, shape }
    }

    /// What it looks like; [`Shape::Unknown`] if it does not tell.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape.map_or(Shape::Unknown, |shape| shape())
    }
}

/// By name: whether it tells what it looks like is compared too, but not what, since a type may contain itself.
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

/// `Recorded::<Line>::SHAPE` is what `Line` looks like, if it tells: the inherent constant, which exists for each [`StoredShape`],
/// goes before that of [`NotRecorded`].
#[doc(hidden)]
pub struct Recorded<T: ?Sized>(PhantomData<T>);

impl<T: StoredShape + ?Sized> Recorded<T> {
    /// It tells.
    pub const SHAPE: Option<fn() -> Shape> = Some(|| T::SHAPE);
}

/// See [`Recorded`].
#[doc(hidden)]
pub trait NotRecorded {
    /// It does not tell.
    const SHAPE: Option<fn() -> Shape> = None;
}

impl<T: ?Sized> NotRecorded for Recorded<T> {}
