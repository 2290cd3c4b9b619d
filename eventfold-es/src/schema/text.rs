//! The text of a lock: one item per line, with its parts indented below it.
//!
//! ```text
//! aggregate order
//!   event Placed version 2 also OrderPlaced
//!     struct
//!       sku: String
//!       lines: Vec<Line> | optional | also positions
//!       amount: Money | form with = "cents" | not checked
//!     type Line
//!       struct
//!         sku: String
//!     past PlacedV1
//!       unknown
//!   state version 0
//!     struct
//!       qty: u32
//!
//! event_handler mailer
//!   key CustomerId
//!   subscribes order
//!
//! projection customers
//!   key CustomerId
//!   index city: String
//!   row version 1
//!     struct
//!       city: String
//! ```

use std::fmt::Write as _;

use super::declared::{
    AggregateShapes, Data, HandlerShape, IndexShape, ProcessManagerShapes, RowShapes, Schema,
    StateShape, TypeShape, Value,
};

pub(super) const FORMAT: &str = "format 1";

/// The mark after a part that the lock cannot check.
pub(super) const NOT_CHECKED: &str = "not checked";

impl Schema {
    /// The text of the file that [`check`](Self::check) compares with.
    #[must_use]
    pub fn to_lock(&self) -> String {
        let name = self.name.replace(['\n', '\r'], " ");
        let mut text = format!(
            "# The stored shapes of {name}. A test compares them with the program; with EVENTFOLD_BLESS=1 it writes them anew.\n\
             {FORMAT}\n"
        );
        for AggregateShapes {
            name,
            events,
            state,
        } in &self.parts.aggregates
        {
            text.push('\n');
            line(&mut text, 0, &format!("aggregate {}", word(name)));
            for event in events {
                let mut head = format!("event {}", word(&event.name));
                if event.version > 1 {
                    let _ = write!(head, " version {}", event.version);
                }
                if event.is_retired {
                    head.push_str(" retired");
                }
                head.push_str(&also(&event.aliases));
                line(&mut text, 1, &head);
                write_data(&mut text, 2, &event.data);
                write_types(&mut text, 2, "type", &event.types);
                write_types(&mut text, 2, "past", &event.past);
            }
            write_state(&mut text, "state", state);
        }
        for ProcessManagerShapes {
            name,
            key,
            state,
            deadlines,
        } in &self.parts.process_managers
        {
            text.push('\n');
            line(&mut text, 0, &format!("process_manager {}", word(name)));
            if !key.is_empty() {
                line(&mut text, 1, &format!("key {}", word(key)));
            }
            write_types(&mut text, 1, "deadline", deadlines);
            write_state(&mut text, "state", state);
        }
        for HandlerShape {
            name,
            key,
            subscriptions,
        } in &self.parts.event_handlers
        {
            text.push('\n');
            line(&mut text, 0, &format!("event_handler {}", word(name)));
            if !key.is_empty() {
                line(&mut text, 1, &format!("key {}", word(key)));
            }
            for aggregate in subscriptions {
                line(&mut text, 1, &format!("subscribes {}", word(aggregate)));
            }
        }
        for RowShapes {
            name,
            key,
            indexes,
            row,
        } in &self.parts.projections
        {
            text.push('\n');
            line(&mut text, 0, &format!("projection {}", word(name)));
            if !key.is_empty() {
                line(&mut text, 1, &format!("key {}", word(key)));
            }
            for IndexShape { name, type_name } in indexes {
                let mut described = format!("index {}", word(name));
                if !type_name.is_empty() {
                    let _ = write!(described, ": {type_name}");
                }
                line(&mut text, 1, &described);
            }
            write_state(&mut text, "row", row);
        }
        text
    }
}

fn write_state(text: &mut String, kind: &str, state: &StateShape) {
    line(text, 1, &format!("{kind} version {}", state.version));
    write_data(text, 2, &state.data);
    write_types(text, 2, "type", &state.types);
}

fn write_types(text: &mut String, depth: usize, kind: &str, types: &[TypeShape]) {
    for TypeShape { name, data, types } in types {
        line(text, depth, &format!("{kind} {}", word(name)));
        write_data(text, depth + 1, data);
        write_types(text, depth + 1, "type", types);
    }
}

fn write_data(text: &mut String, depth: usize, data: &Data) {
    let write_values = |text: &mut String, values: &[Value]| {
        for value in values {
            let mut described = format!("{}: {}", word(&value.name), value.type_name);
            if value.is_optional {
                described.push_str(" | optional");
            }
            if !value.aliases.is_empty() {
                let _ = write!(described, " |{}", also(&value.aliases));
            }
            if !value.form.is_empty() {
                let _ = write!(described, " | form {}", value.form);
            }
            if !value.is_checked() {
                let _ = write!(described, " | {NOT_CHECKED}");
            }
            line(text, depth + 1, &described);
        }
    };
    match data {
        Data::Unknown => line(text, depth, "unknown"),
        Data::Unit => {}
        Data::Tuple(values) => {
            line(text, depth, "tuple");
            write_values(text, values);
        }
        Data::Struct { fields, is_strict } => {
            line(
                text,
                depth,
                if *is_strict {
                    "strict struct"
                } else {
                    "struct"
                },
            );
            write_values(text, fields);
        }
        Data::Enum(cases) => {
            line(text, depth, "enum");
            for case in cases {
                let head = format!("{}{}", word(&case.name), also(&case.aliases));
                line(text, depth + 1, &head);
                write_data(text, depth + 2, &case.data);
            }
        }
        Data::Custom(form) => line(text, depth, &format!("custom {form}")),
        Data::Converted(form) => {
            line(text, depth, &format!("converted {form} | {NOT_CHECKED}"));
        }
    }
}

fn line(text: &mut String, depth: usize, content: &str) {
    text.push_str(&"  ".repeat(depth));
    text.push_str(&content.replace(['\n', '\r'], " "));
    text.push('\n');
}

fn also(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let words: Vec<String> = names.iter().map(|name| word(name)).collect();
    format!(" also {}", words.join(" "))
}

/// A name as one word: in quotes, unless it is plain.
fn word(name: &str) -> String {
    let is_plain = !name.is_empty()
        && name
            .chars()
            .all(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | '.'));
    if is_plain {
        name.to_owned()
    } else {
        serde_json::Value::from(name).to_string()
    }
}
