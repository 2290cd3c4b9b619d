//! Drawings of a topology.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Edge, Topology};

impl Topology {
    /// A flow chart in the language of Mermaid, which renders in Markdown on most forges.
    ///
    /// Aggregates are boxes with their events, process managers are hexagons, event handlers are parallelograms, projections
    /// are drums. A thick arrow carries commands and names their type; a dotted arrow carries events into a read model.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut drawing = "flowchart LR\n".to_owned();
        for (index, part) in self.aggregates.iter().enumerate() {
            let events: String = part
                .written_events()
                .map(|event| format!("<br/>{}", mermaid_text(event)))
                .collect();
            let label = mermaid_text(&label(part.type_name, part.name));
            line(
                &mut drawing,
                format_args!("    aggregate{index}[\"<b>{label}</b>{events}\"]"),
            );
        }
        for (index, part) in self.process_managers.iter().enumerate() {
            let label = mermaid_text(&label(part.type_name, part.name));
            line(
                &mut drawing,
                format_args!("    process_manager{index}{{{{\"<b>{label}</b>\"}}}}"),
            );
        }
        for (index, part) in self.event_handlers.iter().enumerate() {
            let label = mermaid_text(&label(part.type_name, part.name));
            line(
                &mut drawing,
                format_args!("    event_handler{index}[/\"<b>{label}</b>\"/]"),
            );
        }
        for (index, part) in self.projections.iter().enumerate() {
            let label = mermaid_text(&label(part.type_name, part.name));
            line(
                &mut drawing,
                format_args!("    projection{index}[(\"<b>{label}</b>\")]"),
            );
        }
        for edge in self.edges() {
            let (from, to) = self.ends(edge);
            match edge {
                Edge::Reacts { .. } | Edge::Handles { .. } => {
                    line(&mut drawing, format_args!("    {from} --> {to}"));
                }
                Edge::Sends { aggregate, .. } | Edge::Returns { aggregate, .. } => {
                    match self.command_type(aggregate) {
                        "" => line(&mut drawing, format_args!("    {from} ==> {to}")),
                        command => {
                            let command = mermaid_text(command);
                            line(
                                &mut drawing,
                                format_args!("    {from} ==>|\"{command}\"| {to}"),
                            );
                        }
                    }
                }
                Edge::Folds { .. } => {
                    line(&mut drawing, format_args!("    {from} -.-> {to}"));
                }
            }
        }
        drawing
    }

    /// A directed graph in the language of Graphviz: `dot -Tsvg` draws it.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut drawing = format!("digraph {} {{\n    rankdir = LR;\n", dot_text(self.name));
        let mut node = |kind: &str, index: usize, shape: &str, label: &str| {
            line(
                &mut drawing,
                format_args!(
                    "    {kind}{index} [shape = {shape}, label = {}];",
                    dot_text(label)
                ),
            );
        };
        for (index, part) in self.aggregates.iter().enumerate() {
            let mut label = label(part.type_name, part.name);
            for event in part.written_events() {
                label.push('\n');
                label.push_str(event);
            }
            node("aggregate", index, "box", &label);
        }
        for (index, part) in self.process_managers.iter().enumerate() {
            let label = label(part.type_name, part.name);
            node("process_manager", index, "hexagon", &label);
        }
        for (index, part) in self.event_handlers.iter().enumerate() {
            let label = label(part.type_name, part.name);
            node("event_handler", index, "parallelogram", &label);
        }
        for (index, part) in self.projections.iter().enumerate() {
            let label = label(part.type_name, part.name);
            node("projection", index, "cylinder", &label);
        }
        for edge in self.edges() {
            let (from, to) = self.ends(edge);
            match edge {
                Edge::Reacts { .. } | Edge::Handles { .. } => {
                    line(&mut drawing, format_args!("    {from} -> {to};"));
                }
                Edge::Sends { aggregate, .. } | Edge::Returns { aggregate, .. } => {
                    let command = dot_text(self.command_type(aggregate));
                    line(
                        &mut drawing,
                        format_args!("    {from} -> {to} [style = bold, label = {command}];"),
                    );
                }
                Edge::Folds { .. } => {
                    line(
                        &mut drawing,
                        format_args!("    {from} -> {to} [style = dotted];"),
                    );
                }
            }
        }
        drawing.push_str("}\n");
        drawing
    }

    /// An object with `name`, `aggregates`, `process_managers`, `event_handlers`, `projections` and `edges`, for other tools. It is
    /// indented, and has everything that is in the fields and in [`edges`](Self::edges). Unknown values are `null`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let aggregates = self.aggregates.iter().map(|part| {
            let command_type = (!part.command_type.is_empty()).then_some(part.command_type);
            json!({
                "type": part.type_name, "name": part.name, "command_type": command_type,
                "events": part.written_events().collect::<Vec<_>>(),
            })
        });
        let process_managers = self.process_managers.iter().map(|part| {
            json!({
                "type": part.type_name, "name": part.name, "subscriptions": part.subscriptions, "targets": part.targets,
            })
        });
        let event_handlers = self.event_handlers.iter().map(|part| {
            json!({
                "type": part.type_name, "name": part.name, "subscriptions": part.subscriptions, "targets": part.targets,
            })
        });
        let projections = self.projections.iter().map(|part| {
            json!({
                "type": part.type_name, "name": part.name, "subscriptions": part.subscriptions,
            })
        });
        let edges = self.edges().map(|edge| match edge {
            Edge::Reacts {
                aggregate,
                process_manager,
            } => json!({ "kind": "reacts", "from": aggregate, "to": process_manager }),
            Edge::Sends {
                process_manager,
                aggregate,
            } => json!({ "kind": "sends", "from": process_manager, "to": aggregate }),
            Edge::Handles {
                aggregate,
                event_handler,
            } => json!({ "kind": "handles", "from": aggregate, "to": event_handler }),
            Edge::Returns {
                event_handler,
                aggregate,
            } => json!({ "kind": "returns", "from": event_handler, "to": aggregate }),
            Edge::Folds {
                aggregate,
                projection,
            } => json!({ "kind": "folds", "from": aggregate, "to": projection }),
        });
        let topology = json!({
            "name": self.name,
            "aggregates": aggregates.collect::<Vec<Value>>(),
            "process_managers": process_managers.collect::<Vec<Value>>(),
            "event_handlers": event_handlers.collect::<Vec<Value>>(),
            "projections": projections.collect::<Vec<Value>>(),
            "edges": edges.collect::<Vec<Value>>(),
        });
        format!("{topology:#}\n")
    }

    /// The nodes at the ends of an edge.
    fn ends(&self, edge: Edge) -> (String, String) {
        let aggregate = |name: &str| {
            let place = self.aggregates.iter().position(|part| part.name == name);
            node("aggregate", place, name)
        };
        let process_manager = |name: &str| {
            let mut parts = self.process_managers.iter();
            node(
                "process_manager",
                parts.position(|part| part.name == name),
                name,
            )
        };
        let event_handler = |name: &str| {
            let mut parts = self.event_handlers.iter();
            node(
                "event_handler",
                parts.position(|part| part.name == name),
                name,
            )
        };
        let projection = |name: &str| {
            let place = self.projections.iter().position(|part| part.name == name);
            node("projection", place, name)
        };
        match edge {
            Edge::Reacts {
                aggregate: from,
                process_manager: to,
            } => (aggregate(from), process_manager(to)),
            Edge::Sends {
                process_manager: from,
                aggregate: to,
            } => (process_manager(from), aggregate(to)),
            Edge::Handles {
                aggregate: from,
                event_handler: to,
            } => (aggregate(from), event_handler(to)),
            Edge::Returns {
                event_handler: from,
                aggregate: to,
            } => (event_handler(from), aggregate(to)),
            Edge::Folds {
                aggregate: from,
                projection: to,
            } => (aggregate(from), projection(to)),
        }
    }

    /// The command type of the aggregate with this stored name; empty if it is unknown.
    fn command_type(&self, aggregate: &str) -> &'static str {
        let mut aggregates = self.aggregates.iter();
        aggregates
            .find(|part| part.name == aggregate)
            .map_or("", |part| part.command_type)
    }
}

/// The identifier of a node. A node that is not in the topology is drawn under the letters and digits of its stored
/// name. Only a topology made by hand can have such a node.
fn node(kind: &str, place: Option<usize>, name: &str) -> String {
    match place {
        Some(index) => format!("{kind}{index}"),
        None => {
            let name: String = name
                .chars()
                .map(|character| {
                    if character.is_ascii_alphanumeric() {
                        character
                    } else {
                        '_'
                    }
                })
                .collect();
            format!("{kind}_{name}")
        }
    }
}

/// The name of the type, and the stored name if it does not follow from the type.
fn label(type_name: &str, name: &str) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|character| character.to_ascii_lowercase())
            .collect()
    };
    if plain(type_name) == plain(name) {
        type_name.to_owned()
    } else {
        format!("{type_name} ({name})")
    }
}

fn line(drawing: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(drawing, "{text}");
}

/// `text` within quotes in Mermaid, which writes special characters as `#…;`.
fn mermaid_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '<' | '>' | '#' | '&' | ';' | '`' | '\\' | '[' | ']' | '{' | '}' | '|' => {
                let _ = write!(escaped, "#{};", u32::from(character));
            }
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

/// `text` as a quoted string of Graphviz.
fn dot_text(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            character if character.is_control() => quoted.push(' '),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::schema::{EventSchema, Shape};
    use crate::topology::{AggregateNode, EventHandlerNode, ProcessManagerNode, ProjectionNode};

    const AGGREGATES: &[AggregateNode] = &[AggregateNode {
        type_name: "stock::Item<\"2\">",
        name: "item",
        command_type: "Change",
        events: &["order \"placed\"\\", "back\nslash;#", "gone", "old"],
        schemas: &[
            EventSchema::new("order \"placed\"\\", Shape::Unit).also_named(&["old"]),
            EventSchema::new("back\nslash;#", Shape::Unit),
            EventSchema::new("gone", Shape::Unit).retired(),
        ],
        owner: None,
        is_schedule: false,
        is_scheduled: false,
    }];
    const PROCESS_MANAGERS: &[ProcessManagerNode] = &[
        ProcessManagerNode {
            type_name: "ItemSaga",
            name: "item-saga",
            subscriptions: Some(&["item", "else.where"]),
            targets: Some(&["item"]),
        },
        ProcessManagerNode {
            type_name: "ByHand",
            name: "by-hand",
            subscriptions: None,
            targets: None,
        },
    ];
    const PROJECTIONS: &[ProjectionNode] = &[ProjectionNode {
        type_name: "Items",
        name: "items",
        subscriptions: Some(&["item"]),
    }];
    const EVENT_HANDLERS: &[EventHandlerNode] = &[EventHandlerNode {
        type_name: "Mailer",
        name: "mails",
        subscriptions: &["item"],
        targets: Some(&["item"]),
    }];
    const TOPOLOGY: Topology = Topology::new("Shop", AGGREGATES, PROCESS_MANAGERS, PROJECTIONS)
        .with_event_handlers(EVENT_HANDLERS);

    #[test]
    fn mermaid() {
        assert_eq!(
            TOPOLOGY.to_mermaid(),
            r#"flowchart LR
    aggregate0["<b>stock::Item#60;#34;2#34;#62; (item)</b><br/>order #34;placed#34;#92;<br/>back slash#59;#35;"]
    process_manager0{{"<b>ItemSaga</b>"}}
    process_manager1{{"<b>ByHand</b>"}}
    event_handler0[/"<b>Mailer (mails)</b>"/]
    projection0[("<b>Items</b>")]
    aggregate0 --> process_manager0
    aggregate_else_where --> process_manager0
    process_manager0 ==>|"Change"| aggregate0
    aggregate0 --> event_handler0
    event_handler0 ==>|"Change"| aggregate0
    aggregate0 -.-> projection0
"#
        );
    }

    #[test]
    fn dot() {
        assert_eq!(
            TOPOLOGY.to_dot(),
            r#"digraph "Shop" {
    rankdir = LR;
    aggregate0 [shape = box, label = "stock::Item<\"2\"> (item)\norder \"placed\"\\\nback\nslash;#"];
    process_manager0 [shape = hexagon, label = "ItemSaga"];
    process_manager1 [shape = hexagon, label = "ByHand"];
    event_handler0 [shape = parallelogram, label = "Mailer (mails)"];
    projection0 [shape = cylinder, label = "Items"];
    aggregate0 -> process_manager0;
    aggregate_else_where -> process_manager0;
    process_manager0 -> aggregate0 [style = bold, label = "Change"];
    aggregate0 -> event_handler0;
    event_handler0 -> aggregate0 [style = bold, label = "Change"];
    aggregate0 -> projection0 [style = dotted];
}
"#
        );
    }

    #[test]
    fn json() {
        let value: Value = serde_json::from_str(&TOPOLOGY.to_json()).unwrap();
        let edge =
            |kind: &str, from: &str, to: &str| json!({ "kind": kind, "from": from, "to": to });
        assert_eq!(
            value,
            json!({
                "name": "Shop",
                "aggregates": [{
                    "type": "stock::Item<\"2\">", "name": "item", "command_type": "Change",
                    "events": ["order \"placed\"\\", "back\nslash;#"],
                }],
                "process_managers": [
                    { "type": "ItemSaga", "name": "item-saga", "subscriptions": ["item", "else.where"], "targets": ["item"] },
                    { "type": "ByHand", "name": "by-hand", "subscriptions": null, "targets": null },
                ],
                "event_handlers": [
                    { "type": "Mailer", "name": "mails", "subscriptions": ["item"], "targets": ["item"] },
                ],
                "projections": [{ "type": "Items", "name": "items", "subscriptions": ["item"] }],
                "edges": [
                    edge("reacts", "item", "item-saga"),
                    edge("reacts", "else.where", "item-saga"),
                    edge("sends", "item-saga", "item"),
                    edge("handles", "item", "mails"),
                    edge("returns", "mails", "item"),
                    edge("folds", "item", "items"),
                ],
            })
        );
    }
}
