//! The correlation of events with instances of a process manager.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use super::{DeclaredProcessManager, ReactError, SubscribesTo};
use crate::aggregate::Aggregate;
use crate::projection::EventContext;
use crate::runtime::check_text;
use crate::short;

/// The key of an instance of a process manager, such as an order number or a customer's id.
///
/// Implemented for every type with `Display`, a `FromStr` that reads the text of `Display`, and `Eq`: `String`, the numbers,
/// and a type of your own. It is also `Send`, `Sync` and `'static`, and the error of `FromStr` has `Display`.
///
/// The text is stored. It has 1 to 512 bytes and no control characters, and reads back as the same key, which `Eq` checks.
/// Changing the text of a key is a data change.
///
/// # Examples
///
/// ```
/// use std::fmt;
/// use std::str::FromStr;
///
/// use eventfold_es::contract::InstanceKey;
///
/// #[derive(PartialEq, Eq)]
/// struct OrderId(u32);
///
/// impl fmt::Display for OrderId {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         write!(f, "ord-{}", self.0)
///     }
/// }
///
/// impl FromStr for OrderId {
///     type Err = String;
///
///     fn from_str(text: &str) -> Result<Self, String> {
///         let number = text.strip_prefix("ord-").and_then(|number| number.parse().ok());
///         number.map(Self).ok_or_else(|| format!("`{text}` is no order"))
///     }
/// }
///
/// assert_eq!(OrderId(7).to_text()?, "ord-7");
/// assert!(OrderId::from_text("ord-7")? == OrderId(7));
/// # Ok::<(), eventfold_es::contract::ReactError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a process manager",
    label = "not a key",
    note = "a key is stored as text: it needs `Display`, a `FromStr` that reads it back, and `#[derive(PartialEq, Eq)]`"
)]
pub trait InstanceKey: Send + Sync + Sized + 'static {
    /// The stored text of the key.
    ///
    /// # Errors
    ///
    /// [`ReactError::Key`] if it cannot be stored: it is empty, longer than 512 bytes, has control characters, or does not read
    /// back as the same key.
    fn to_text(&self) -> Result<String, ReactError>;

    /// The key whose stored text is `text`.
    ///
    /// # Errors
    ///
    /// [`ReactError::Key`] if it does not read back as a key.
    fn from_text(text: &str) -> Result<Self, ReactError>;
}

#[diagnostic::do_not_recommend]
impl<K> InstanceKey for K
where
    K: Display + FromStr<Err: Display> + Eq + Send + Sync + 'static,
{
    fn to_text(&self) -> Result<String, ReactError> {
        let text = self.to_string();
        if let Err(reason) = check_text(&text) {
            return Err(ReactError::Key {
                key: short::id(&text),
                reason: reason.to_owned(),
            });
        }
        if K::from_text(&text)? != *self {
            return Err(ReactError::Key {
                key: text,
                reason: "it reads back as another key: its `FromStr` has to undo its `Display`"
                    .to_owned(),
            });
        }
        Ok(text)
    }

    fn from_text(text: &str) -> Result<Self, ReactError> {
        text.parse().map_err(|error: K::Err| ReactError::Key {
            key: text.to_owned(),
            reason: format!(
                "it does not read back ({error}): keep the form in which keys are written, or give the process manager another name"
            ),
        })
    }
}

/// A process manager with an instance, and a state, for each key. `#[process_manager(.., key = OrderId)]` generates it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared without `key`, so it has one instance only",
    label = "there are no instances to tell apart",
    note = "add `key = ..` to `#[process_manager(..)]` of `{Self}`, with the type that tells its instances apart"
)]
pub trait Keyed: DeclaredProcessManager {
    /// The type of the key.
    type Key: InstanceKey;
}

/// The instances of the events of one aggregate, written by the user of `#[process_manager(.., key = ..)]`.
///
/// There is one impl for each aggregate in `subscribes`. Its result must depend on the event alone: the store calls it
/// before it loads any state, and may call it again.
///
/// # Examples
///
/// ```
/// # use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum PaymentCommand {}
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum PaymentEvent { Requested { order: String }, Paid { order: String }, Printed }
/// # struct PaymentSaga;
/// # trait Correlate<A> {
/// #     fn correlate(event: &PaymentEvent, cx: &EventContext<'_>) -> Correlation<String>;
/// # }
/// # struct Payment;
/// use eventfold_es::Correlation;
///
/// impl Correlate<Payment> for PaymentSaga {
///     fn correlate(event: &PaymentEvent, _cx: &EventContext<'_>) -> Correlation<String> {
///         match event {
///             PaymentEvent::Requested { order } => Correlation::starts(order.clone()),
///             PaymentEvent::Paid { order } => Correlation::continues(order.clone()),
///             PaymentEvent::Printed => Correlation::none(),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `key`, but does not say which of its instances the events of `{A}` belong to",
    label = "`impl Correlate<{A}> for {Self}` is missing",
    note = "write `impl Correlate<{A}> for {Self} {{ fn correlate(event: &.., cx: &EventContext<'_>) -> Correlation<..> {{ .. }} }}`, or remove `{A}` from `subscribes`"
)]
pub trait Correlate<A: Aggregate>:
    DeclaredProcessManager<Declared: SubscribesTo<A> + Keyed>
{
    /// The instances of `event`.
    fn correlate(
        event: &<A as Aggregate>::DomainEvent,
        cx: &EventContext<'_>,
    ) -> Correlation<KeyOf<Self>>;
}

/// The key of a [`Keyed`] process manager.
pub type KeyOf<PM> = <<PM as DeclaredProcessManager>::Declared as Keyed>::Key;

/// The instances of an event, and whether it may start them.
///
/// | | no instance of the key | an open instance | a completed instance |
/// |---|---|---|---|
/// | [`starts`](Self::starts) | a new instance reacts | ignored | a new instance reacts |
/// | [`continues`](Self::continues) | ignored | it reacts | ignored |
/// | [`starts_or_continues`](Self::starts_or_continues) | a new instance reacts | it reacts | a new instance reacts |
///
/// An ignored event is counted. A new instance begins with the default state. The deadlines of a completed instance are
/// removed, and never reach a later instance of the same key.
///
/// # Examples
///
/// ```
/// use eventfold_es::Correlation;
/// use eventfold_es::contract::JoinKind;
///
/// let paid = Correlation::continues("ord-1");
/// assert_eq!(paid.joins().len(), 1);
/// assert_eq!(paid.joins()[0].kind, JoinKind::Continue);
///
/// let shipped = Correlation::each(["ord-1", "ord-2"].map(Correlation::continues));
/// assert_eq!(shipped.joins().len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it tells where an event goes"]
pub struct Correlation<K = String> {
    joins: Joins<K>,
}

/// An event usually has one instance or none, which needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Joins<K> {
    None,
    One(Join<K>),
    Several(Vec<Join<K>>),
}

/// One instance of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Join<K = String> {
    /// The key.
    pub key: K,
    /// Whether the event may start it.
    pub kind: JoinKind,
}

/// The way in which an event joins an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// It starts an instance, and is ignored by an open instance.
    Start,
    /// It is for an open instance.
    Continue,
    /// It is for an open instance, and starts an instance otherwise.
    StartOrContinue,
}

impl<K> Correlation<K> {
    /// The event belongs to no instance.
    pub const fn none() -> Self {
        Self { joins: Joins::None }
    }

    /// The event starts the instance `key`.
    pub const fn starts(key: K) -> Self {
        Self::one(key, JoinKind::Start)
    }

    /// The event is for the instance `key`, if that instance is open.
    pub const fn continues(key: K) -> Self {
        Self::one(key, JoinKind::Continue)
    }

    /// The event is for the instance `key`, and starts it if it is not open.
    pub const fn starts_or_continues(key: K) -> Self {
        Self::one(key, JoinKind::StartOrContinue)
    }

    /// The event belongs to all of these instances. If a key is named twice, only the first counts.
    ///
    /// The instances react in this order, and their effects are stored together.
    pub fn each(correlations: impl IntoIterator<Item = Self>) -> Self {
        let joins = correlations
            .into_iter()
            .flat_map(Self::into_joins)
            .collect::<Vec<_>>();
        Self {
            joins: Joins::Several(joins),
        }
    }

    const fn one(key: K, kind: JoinKind) -> Self {
        Self {
            joins: Joins::One(Join { key, kind }),
        }
    }

    /// The instances, in order.
    #[must_use]
    pub fn joins(&self) -> &[Join<K>] {
        match &self.joins {
            Joins::None => &[],
            Joins::One(join) => std::slice::from_ref(join),
            Joins::Several(joins) => joins,
        }
    }

    /// The instances, in order.
    #[must_use]
    pub fn into_joins(self) -> Vec<Join<K>> {
        match self.joins {
            Joins::None => Vec::new(),
            Joins::One(join) => vec![join],
            Joins::Several(joins) => joins,
        }
    }
}

impl<K: InstanceKey> Correlation<K> {
    /// The form for the store: the text of each key, and each key once.
    ///
    /// # Errors
    ///
    /// [`ReactError::Key`] if a key cannot be stored: its text is empty, longer than 512 bytes, has control characters, or does
    /// not read back as the same key.
    pub fn erase(self) -> Result<Correlation, ReactError> {
        let joins = match self.joins {
            Joins::None => Joins::None,
            Joins::One(join) => Joins::One(join.erase()?),
            Joins::Several(joins) => {
                let mut seen = HashSet::with_capacity(joins.len());
                let mut erased = Vec::with_capacity(joins.len());
                for join in joins {
                    let join = join.erase()?;
                    if seen.insert(join.key.clone()) {
                        erased.push(join);
                    }
                }
                Joins::Several(erased)
            }
        };
        Ok(Correlation { joins })
    }
}

impl<K: InstanceKey> Join<K> {
    fn erase(self) -> Result<Join, ReactError> {
        Ok(Join {
            key: self.key.to_text()?,
            kind: self.kind,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn erased<K: InstanceKey>(correlation: Correlation<K>) -> Vec<(String, JoinKind)> {
        let erased = correlation.erase().unwrap();
        let joins = erased.into_joins().into_iter();
        joins.map(|join| (join.key, join.kind)).collect()
    }

    #[test]
    fn keys_become_text_and_how_they_join_stays() {
        assert!(erased(Correlation::<String>::none()).is_empty());
        assert_eq!(
            erased(Correlation::starts(7_u64)),
            [("7".to_owned(), JoinKind::Start)]
        );
        assert_eq!(
            erased(Correlation::continues("a".to_owned())),
            [("a".to_owned(), JoinKind::Continue)]
        );
        assert_eq!(
            erased(Correlation::starts_or_continues('x')),
            [("x".to_owned(), JoinKind::StartOrContinue)]
        );
    }

    #[test]
    fn several_keep_their_order_and_each_key_counts_once_as_it_was_named_first() {
        let correlation = Correlation::each([
            Correlation::continues(2),
            Correlation::none(),
            Correlation::each([Correlation::starts(1), Correlation::continues(3)]),
            Correlation::starts(2),
        ]);
        assert_eq!(correlation.joins().len(), 4);
        assert_eq!(
            erased(correlation),
            [
                ("2".to_owned(), JoinKind::Continue),
                ("1".to_owned(), JoinKind::Start),
                ("3".to_owned(), JoinKind::Continue),
            ]
        );
    }

    #[test]
    fn a_key_that_cannot_be_stored_is_refused() {
        let refused = |key: &str| {
            let error = Correlation::starts(key.to_owned()).erase().unwrap_err();
            error.to_string()
        };
        assert!(refused("").contains("it is empty"), "{}", refused(""));
        assert!(refused("a\nb").contains("control characters"));
        assert!(refused(&"x".repeat(513)).contains("longer than 512 bytes"));
        assert_eq!(erased(Correlation::starts("x".repeat(512))).len(), 1);
    }

    /// A key whose text reads back as another key, or not at all.
    #[derive(PartialEq, Eq)]
    struct Rounded(u32);

    impl Display for Rounded {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match self.0 {
                13 => f.write_str("unlucky"),
                number => write!(f, "{}", number / 10 * 10),
            }
        }
    }

    impl FromStr for Rounded {
        type Err = std::num::ParseIntError;

        fn from_str(text: &str) -> Result<Self, Self::Err> {
            text.parse().map(Self)
        }
    }

    #[test]
    fn a_key_that_reads_back_as_another_is_refused() {
        assert_eq!(erased(Correlation::starts(Rounded(20))).len(), 1);
        let error = Correlation::starts(Rounded(21)).erase().unwrap_err();
        assert!(error.to_string().contains("another key"), "{error}");
        let error = Correlation::starts(Rounded(13)).erase().unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`unlucky`") && text.contains("does not read back"),
            "{text}"
        );
    }
}
