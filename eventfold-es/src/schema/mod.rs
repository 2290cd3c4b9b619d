//! The stored shapes of events, states and rows, as a program declares them, and the lock that detects their changes.

mod by_hand;
mod change;
mod declared;
mod lock;
mod read;
mod recorded;
mod text;
mod types;

pub use change::{Change, Verdict};
pub use declared::Schema;
pub use lock::{BLESS, LockError};
pub use recorded::{NamedType, StoredShape};
#[doc(hidden)]
pub use recorded::{NotRecorded, Recorded};

/// One event type of an enum, as it is stored.
///
/// `#[derive(DomainEvent)]` generates one for each variant; see [`DomainEvent::SCHEMAS`](crate::DomainEvent::SCHEMAS).
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::schema::{EventSchema, Field, Shape};
///
/// #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data")]
/// enum OrderEvent {
///     Placed { sku: String, #[serde(default)] gift: bool },
///     #[serde(alias = "Approved")]
///     Confirmed,
/// }
///
/// const EXPECTED: &[EventSchema] = &[
///     EventSchema::new("Placed", Shape::Struct(&[Field::new("sku", "String"), Field::new("gift", "bool").optional()])),
///     EventSchema::new("Confirmed", Shape::Unit).also_named(&["Approved"]),
/// ];
/// assert_eq!(OrderEvent::SCHEMAS, EXPECTED);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventSchema {
    /// The written name.
    pub name: &'static str,
    /// Other names under which it can be read.
    pub aliases: &'static [&'static str],
    /// The version of its shape. If it is above 1, the `meta` of a stored event has it.
    pub version: u32,
    /// Whether it is retired: read, and never written.
    pub is_retired: bool,
    /// The shape of its data.
    pub shape: Shape,
    /// The types that read the data of its older versions, from version 1 on.
    pub past: &'static [NamedType],
}

/// The stored shape of the data of an event, or of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// A shape that no macro has declared.
    Unknown,
    /// No data.
    Unit,
    /// Values in a row; a single value stands for itself.
    Tuple(&'static [Field]),
    /// Values with names; other values are ignored.
    Struct(&'static [Field]),
    /// Values with names; other values are refused.
    StrictStruct(&'static [Field]),
    /// One of several variants.
    Enum(&'static [Variant]),
    /// An enum that is not externally tagged, as one text: serde's attributes, and the variants.
    Custom(&'static str),
    /// Another type in its place, or the result of a function, by serde's attributes: `from`, `into`, `remote`, `with`
    /// and similar attributes. Its stored shape is unknown, and is not checked.
    Converted(&'static str),
}

/// A variant of a [`Shape::Enum`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variant {
    /// The written name.
    pub name: &'static str,
    /// Other names under which it can be read.
    pub aliases: &'static [&'static str],
    /// The data after the name.
    pub shape: Shape,
}

/// A value in a [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The written name, or its place in a row, from 0.
    pub name: &'static str,
    /// Other names under which it can be read.
    pub aliases: &'static [&'static str],
    /// Its type, as the program writes it.
    pub type_name: &'static str,
    /// Whether it may be missing in stored data.
    pub is_optional: bool,
    /// serde's attributes that make its stored form differ from its type; usually empty.
    pub form: &'static str,
    /// The types in its type, except those of std.
    pub types: &'static [NamedType],
}

impl EventSchema {
    /// The first version of an event.
    #[must_use]
    pub const fn new(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            aliases: &[],
            version: 1,
            is_retired: false,
            shape,
            past: &[],
        }
    }

    /// Reads its older versions as these types, from version 1 on.
    #[must_use]
    pub const fn upcast_from(mut self, past: &'static [NamedType]) -> Self {
        self.past = past;
        self
    }

    /// Also reads it under these names.
    #[must_use]
    pub const fn also_named(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Sets the version of the event.
    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Marks it as retired: read, and no longer written.
    #[must_use]
    pub const fn retired(mut self) -> Self {
        self.is_retired = true;
        self
    }

    /// Whether it can be read under this name.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

impl Variant {
    /// A variant that can be read under one name.
    #[must_use]
    pub const fn new(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            aliases: &[],
            shape,
        }
    }

    /// Also reads it under these names.
    #[must_use]
    pub const fn also_named(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

impl Field {
    /// A value that is always present, in the form of its type.
    #[must_use]
    pub const fn new(name: &'static str, type_name: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            type_name,
            is_optional: false,
            form: "",
            types: &[],
        }
    }

    /// Sets the types in its type.
    #[must_use]
    pub const fn containing(mut self, types: &'static [NamedType]) -> Self {
        self.types = types;
        self
    }

    /// Also reads it under these names.
    #[must_use]
    pub const fn also_named(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Allows it to be missing in stored data.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// Sets serde's attributes that give it another form.
    #[must_use]
    pub const fn in_form(mut self, form: &'static str) -> Self {
        self.form = form;
        self
    }
}
