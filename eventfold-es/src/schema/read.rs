//! Reading the text of a lock.

use super::by_hand::{refuse_marks_of_a_merge, refuse_second};
use super::declared::{
    AggregateShapes, Case, Data, EventShape, HandlerShape, IndexShape, Parts, ProcessManagerShapes,
    RowShapes, StateShape, TypeShape, Value,
};
use super::text::{FORMAT, NOT_CHECKED};

/// An unreadable line; the first line is 1.
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// A line, and the lines that are indented below it.
struct Node<'a> {
    line: usize,
    content: &'a str,
    children: Vec<Node<'a>>,
}

/// Reads the text of a lock.
pub(super) fn parse(text: &str) -> Result<Parts, Malformed> {
    refuse_marks_of_a_merge(text)?;
    let mut lines = Vec::new();
    for (index, content) in text.lines().enumerate() {
        let content = content.trim_end();
        let bare = content.trim_start_matches(' ');
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        let indent = content.len() - bare.len();
        if indent % 2 != 0 || bare.starts_with('\t') {
            return Err(malformed(index + 1, "lines are indented by two spaces"));
        }
        lines.push((index + 1, indent / 2, bare));
    }
    let mut rest = lines.as_slice();
    match rest {
        [(_, 0, FORMAT), tail @ ..] => rest = tail,
        [(line, ..), ..] => {
            return Err(malformed(
                *line,
                &format!("expected `{FORMAT}`: another version wrote this file"),
            ));
        }
        [] => return Err(malformed(1, "the file is empty")),
    }
    let mut parts = Parts::default();
    for node in nodes(&mut rest, 0)? {
        let (kind, words) = head(&node)?;
        let [name] = words.as_slice() else {
            return Err(malformed(node.line, "expected one name"));
        };
        let name = name.clone();
        match kind.as_str() {
            "aggregate" => {
                let earlier = parts.aggregates.iter().map(|aggregate| &aggregate.name);
                refuse_second(&name, earlier, "aggregate", node.line)?;
                parts.aggregates.push(aggregate(name, &node)?);
            }
            "process_manager" => {
                let earlier = parts.process_managers.iter().map(|earlier| &earlier.name);
                refuse_second(&name, earlier, "process manager", node.line)?;
                let (key, rest) = key(&node.children)?;
                let (deadlines, rest) = types("deadline", rest)?;
                let [state] = rest else {
                    return Err(malformed(node.line, "a process manager has one state"));
                };
                parts.process_managers.push(ProcessManagerShapes {
                    name,
                    key,
                    state: self::state("state", state)?,
                    deadlines,
                });
            }
            "event_handler" => {
                let earlier = parts.event_handlers.iter().map(|earlier| &earlier.name);
                refuse_second(&name, earlier, "event handler", node.line)?;
                parts.event_handlers.push(event_handler(name, &node)?);
            }
            "projection" => {
                let earlier = parts.projections.iter().map(|earlier| &earlier.name);
                refuse_second(&name, earlier, "projection", node.line)?;
                parts.projections.push(projection(name, &node)?);
            }
            _ => {
                return Err(malformed(
                    node.line,
                    "expected `aggregate`, `process_manager`, `event_handler` or `projection`",
                ));
            }
        }
    }
    Ok(parts)
}

fn event_handler(name: String, node: &Node<'_>) -> Result<HandlerShape, Malformed> {
    let (key, rest) = key(&node.children)?;
    let mut subscriptions = Vec::new();
    for node in rest {
        let (kind, words) = head(node)?;
        let [aggregate] = words.as_slice() else {
            return Err(malformed(node.line, "expected `subscribes NAME`"));
        };
        if kind != "subscribes" {
            return Err(malformed(node.line, "expected `subscribes NAME`"));
        }
        refuse_second(
            aggregate,
            subscriptions.iter(),
            "subscribed aggregate",
            node.line,
        )?;
        none_left(&node.children)?;
        subscriptions.push(aggregate.clone());
    }
    Ok(HandlerShape {
        name,
        key,
        subscriptions,
    })
}

fn projection(name: String, node: &Node<'_>) -> Result<RowShapes, Malformed> {
    let (key, mut rest) = key(&node.children)?;
    let mut indexes: Vec<IndexShape> = Vec::new();
    while let [node, tail @ ..] = rest {
        let Some(described) = node.content.strip_prefix("index ") else {
            break;
        };
        let index =
            index(described).ok_or_else(|| malformed(node.line, "expected `index NAME: TYPE`"))?;
        let earlier = indexes.iter().map(|index| &index.name);
        refuse_second(&index.name, earlier, "index", node.line)?;
        none_left(&node.children)?;
        indexes.push(index);
        rest = tail;
    }
    let [row] = rest else {
        return Err(malformed(node.line, "a projection has one row"));
    };
    Ok(RowShapes {
        name,
        key,
        indexes,
        row: state("row", row)?,
    })
}

fn index(described: &str) -> Option<IndexShape> {
    let (name, behind) = first_word(described)?;
    let type_name = match behind {
        "" => "",
        typed => typed.strip_prefix(": ")?,
    };
    Some(IndexShape {
        name,
        type_name: type_name.to_owned(),
    })
}

/// The key of a process manager, an event handler or a projection, if any, and the nodes after it.
fn key<'a, 'b>(nodes: &'a [Node<'b>]) -> Result<(String, &'a [Node<'b>]), Malformed> {
    let [node, tail @ ..] = nodes else {
        return Ok((String::new(), nodes));
    };
    // Only a key is a list of words: an index is not.
    if node.content.split(' ').next() != Some("key") {
        return Ok((String::new(), nodes));
    }
    match head(node)?.1.as_slice() {
        [key] => Ok((key.clone(), tail)),
        _ => Err(malformed(node.line, "expected `key TYPE`")),
    }
}

fn nodes<'a>(
    rest: &mut &[(usize, usize, &'a str)],
    depth: usize,
) -> Result<Vec<Node<'a>>, Malformed> {
    let mut found = Vec::new();
    while let [(line, indent, content), tail @ ..] = *rest {
        if *indent < depth {
            break;
        }
        if *indent > depth {
            return Err(malformed(*line, "the line is indented too far"));
        }
        *rest = tail;
        let children = nodes(rest, depth + 1)?;
        found.push(Node {
            line: *line,
            content,
            children,
        });
    }
    Ok(found)
}

fn aggregate(name: String, node: &Node<'_>) -> Result<AggregateShapes, Malformed> {
    let mut events = Vec::new();
    let mut state = None;
    for child in &node.children {
        let (kind, words) = head(child)?;
        match kind.as_str() {
            "event" => {
                let event = event(&words, child)?;
                let earlier = events.iter().map(|event: &EventShape| &event.name);
                refuse_second(&event.name, earlier, "event", child.line)?;
                events.push(event);
            }
            "state" => state = Some(self::state("state", child)?),
            _ => return Err(malformed(child.line, "expected `event` or `state`")),
        }
    }
    let state = state.ok_or_else(|| malformed(node.line, "an aggregate has a state"))?;
    Ok(AggregateShapes {
        name,
        events,
        state,
    })
}

fn event(words: &[String], node: &Node<'_>) -> Result<EventShape, Malformed> {
    let wrong = || {
        malformed(
            node.line,
            "expected `event NAME`, `version N`, `retired`, `also NAME ..`",
        )
    };
    let [name, rest @ ..] = words else {
        return Err(wrong());
    };
    let (data, types, behind) = described(node)?;
    let (past, behind) = self::types("past", behind)?;
    none_left(behind)?;
    let mut event = EventShape {
        name: name.clone(),
        aliases: Vec::new(),
        version: 1,
        is_retired: false,
        data,
        types,
        past,
    };
    let mut rest = rest;
    loop {
        match rest {
            [] => return Ok(event),
            [key, number, tail @ ..] if key == "version" => {
                event.version = number.parse().map_err(|_| wrong())?;
                rest = tail;
            }
            [key, tail @ ..] if key == "retired" => {
                event.is_retired = true;
                rest = tail;
            }
            [key, tail @ ..] if key == "also" && !tail.is_empty() => {
                event.aliases = tail.to_vec();
                rest = &[];
            }
            _ => return Err(wrong()),
        }
    }
}

/// A state or a row, whose line begins with `expected`.
fn state(expected: &str, node: &Node<'_>) -> Result<StateShape, Malformed> {
    let (kind, words) = head(node)?;
    let wrong = || malformed(node.line, &format!("expected `{expected} version N`"));
    match words.as_slice() {
        [key, number] if kind == expected && key == "version" => {
            let (data, types, behind) = described(node)?;
            none_left(behind)?;
            Ok(StateShape {
                version: number.parse().map_err(|_| wrong())?,
                data,
                types,
            })
        }
        _ => Err(wrong()),
    }
}

/// The shape below a line, the types in it, and the nodes after them.
fn described<'a, 'b>(
    node: &'a Node<'b>,
) -> Result<(Data, Vec<TypeShape>, &'a [Node<'b>]), Malformed> {
    let is_shape = |node: &&Node<'_>| {
        let kind = node.content.split(' ').next();
        !matches!(kind, Some("type" | "past"))
    };
    let shapes = node.children.iter().take_while(is_shape).count();
    let (shape, behind) = node.children.split_at(shapes);
    let (types, behind) = types("type", behind)?;
    Ok((data(shape, node.line)?, types, behind))
}

/// The types at the beginning of `nodes` that `kind` introduces, and the nodes after them.
fn types<'a, 'b>(
    kind: &str,
    nodes: &'a [Node<'b>],
) -> Result<(Vec<TypeShape>, &'a [Node<'b>]), Malformed> {
    let mut found = Vec::new();
    let mut rest = nodes;
    while let [node, tail @ ..] = rest {
        let (head, words) = head(node)?;
        if head != kind {
            break;
        }
        let [name] = words.as_slice() else {
            return Err(malformed(node.line, "expected one name"));
        };
        if kind == "deadline" {
            let earlier = found.iter().map(|one: &TypeShape| &one.name);
            refuse_second(name, earlier, kind, node.line)?;
        }
        let (data, types, behind) = described(node)?;
        none_left(behind)?;
        found.push(TypeShape {
            name: name.clone(),
            data,
            types,
        });
        rest = tail;
    }
    Ok((found, rest))
}

fn none_left(nodes: &[Node<'_>]) -> Result<(), Malformed> {
    match nodes {
        [] => Ok(()),
        [node, ..] => Err(malformed(node.line, "this line does not belong here")),
    }
}

fn data(nodes: &[Node<'_>], line: usize) -> Result<Data, Malformed> {
    let node = match nodes {
        [] => return Ok(Data::Unit),
        [node] => node,
        _ => return Err(malformed(line, "expected one shape below this line")),
    };
    let values = || node.children.iter().map(value).collect::<Result<_, _>>();
    match node.content {
        "unknown" => Ok(Data::Unknown),
        "tuple" => Ok(Data::Tuple(values()?)),
        "struct" => Ok(Data::Struct {
            fields: values()?,
            is_strict: false,
        }),
        "strict struct" => Ok(Data::Struct {
            fields: values()?,
            is_strict: true,
        }),
        "enum" => {
            let cases = node.children.iter().map(|child| {
                let words = words(child)?;
                let (name, aliases) = match words.as_slice() {
                    [name] => (name, Vec::new()),
                    [name, key, aliases @ ..] if key == "also" && !aliases.is_empty() => {
                        (name, aliases.to_vec())
                    }
                    _ => return Err(malformed(child.line, "expected a variant")),
                };
                Ok(Case {
                    name: name.clone(),
                    aliases,
                    data: data(&child.children, child.line)?,
                })
            });
            Ok(Data::Enum(cases.collect::<Result<_, _>>()?))
        }
        other => {
            let converted = || {
                let form = other.strip_prefix("converted ")?;
                form.strip_suffix(NOT_CHECKED)?.strip_suffix(" | ")
            };
            match (other.strip_prefix("custom "), converted()) {
                (Some(form), _) => Ok(Data::Custom(form.to_owned())),
                (None, Some(form)) => Ok(Data::Converted(form.to_owned())),
                (None, None) => Err(malformed(
                    node.line,
                    "expected `struct`, `tuple`, `enum`, `custom ..`, `converted .. | not checked` or `unknown`",
                )),
            }
        }
    }
}

fn value(node: &Node<'_>) -> Result<Value, Malformed> {
    let wrong = |reason: &str| malformed(node.line, reason);
    let (name, rest) =
        first_word(node.content).ok_or_else(|| wrong("expected a field, as `name: type`"))?;
    let described = rest
        .strip_prefix(": ")
        .ok_or_else(|| wrong("expected a field, as `name: type`"))?;
    let mut notes = described.split(" | ");
    let mut value = Value {
        name,
        aliases: Vec::new(),
        type_name: notes.next().unwrap_or_default().to_owned(),
        is_optional: false,
        form: String::new(),
    };
    for note in notes {
        if note == "optional" {
            value.is_optional = true;
        } else if let Some(aliases) = note.strip_prefix("also ") {
            value.aliases = split(aliases).ok_or_else(|| wrong("expected names after `also`"))?;
        } else if let Some(form) = note.strip_prefix("form ") {
            value.form = form.to_owned();
        } else if note != NOT_CHECKED || value.is_checked() {
            return Err(wrong(
                "expected `optional`, `also NAME ..` or `form ..`, and `not checked` after a form that is the result of a function",
            ));
        }
    }
    Ok(value)
}

/// The first word of a line, and the other words.
fn head(node: &Node<'_>) -> Result<(String, Vec<String>), Malformed> {
    let mut words = words(node)?.into_iter();
    let kind = words.next().unwrap_or_default();
    Ok((kind, words.collect()))
}

fn words(node: &Node<'_>) -> Result<Vec<String>, Malformed> {
    split(node.content).ok_or_else(|| malformed(node.line, "the quotes do not match"))
}

fn split(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, behind) = first_word(rest)?;
        found.push(word);
        rest = behind.trim_start_matches(' ');
    }
    Some(found)
}

/// A plain or quoted word at the beginning of `text`, and the text after it.
fn first_word(text: &str) -> Option<(String, &str)> {
    if !text.starts_with('"') {
        let end = text.find([' ', ':']).unwrap_or(text.len());
        let (word, behind) = text.split_at_checked(end)?;
        return (!word.is_empty()).then(|| (word.to_owned(), behind));
    }
    let mut quoted = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let word = quoted.next()?.ok()?;
    let (_, behind) = text.split_at_checked(quoted.byte_offset())?;
    Some((word, behind))
}

fn malformed(line: usize, reason: &str) -> Malformed {
    Malformed {
        line,
        reason: reason.to_owned(),
    }
}
