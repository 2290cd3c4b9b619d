//! The settings of the stream: the same table creates it and checks it.

use serde_json::{Map, Value, json};

use super::names::Names;

/// The lowest version of a server. Older ones check the expected number of an entry only after they have proposed it.
const OLDEST_SERVER: [u64; 2] = [2, 12];

/// Whether a server of this version is new enough. A version that cannot be read is not.
pub(super) fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    let mut next = || parts.next().and_then(|part| part.parse::<u64>().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) => [major, minor] >= OLDEST_SERVER,
        _ => false,
    }
}

/// One setting of the stream.
struct Setting {
    name: &'static str,
    value: Value,
    /// The reason for the value.
    reason: &'static str,
}

/// The settings that keep every entry, in order, on disks.
fn settings() -> Vec<Setting> {
    let setting = |name, value, reason| Setting {
        name,
        value,
        reason,
    };
    let kept = "every entry is kept";
    let same = "each entry has one number and one text";
    vec![
        setting("storage", json!("file"), "entries survive a restart"),
        setting("retention", json!("limits"), kept),
        setting("discard", json!("new"), kept),
        setting("discard_new_per_subject", json!(false), kept),
        setting("max_msgs", json!(-1), kept),
        setting("max_msgs_per_subject", json!(-1), kept),
        setting("max_bytes", json!(-1), kept),
        setting("max_age", json!(0), kept),
        setting(
            "max_msg_size",
            json!(-1),
            "the server's limit is the only one",
        ),
        setting("deny_delete", json!(true), kept),
        setting("deny_purge", json!(true), kept),
        setting("allow_rollup_hdrs", json!(false), kept),
        setting("allow_msg_ttl", json!(false), kept),
        setting("subject_delete_marker_ttl", json!(0), same),
        setting("allow_msg_counter", json!(false), same),
        setting("allow_msg_schedules", json!(false), same),
        setting("allow_atomic", json!(false), same),
        setting("allow_batched", json!(false), same),
        setting("first_seq", json!(0), "the first entry has the number 1"),
        setting(
            "allow_direct",
            json!(false),
            "a replica that lags answers no reader",
        ),
        setting(
            "mirror_direct",
            json!(false),
            "a replica that lags answers no reader",
        ),
        setting(
            "persist_mode",
            Value::Null,
            "an entry is on the disks when it is acknowledged",
        ),
        setting("no_ack", json!(false), "the server answers each append"),
        setting("sealed", json!(false), "entries are added"),
        setting("mirror", Value::Null, same),
        setting("sources", Value::Null, same),
        setting("subject_transform", Value::Null, same),
        setting("republish", Value::Null, "entries go to nobody else"),
    ]
}

/// The request that creates the stream.
pub(super) fn creation(names: &Names, replicas: usize) -> Value {
    let mut config = Map::new();
    config.insert("name".to_owned(), json!(names.stream));
    config.insert("subjects".to_owned(), json!([names.entries]));
    config.insert("num_replicas".to_owned(), json!(replicas));
    let description =
        "The log of a store of eventfold-es. Its entries are never changed or removed.";
    config.insert("description".to_owned(), json!(description));
    for Setting { name, value, .. } in settings() {
        if !is_absent(&value) {
            config.insert(name.to_owned(), value);
        }
    }
    Value::Object(config)
}

/// Compares the settings of an existing stream. The error names each wrong setting.
pub(super) fn check(
    config: &Map<String, Value>,
    names: &Names,
    replicas: usize,
) -> Result<(), String> {
    let stream = &names.stream;
    let subjects = config.get("subjects").unwrap_or(&Value::Null);
    if *subjects != json!([names.entries]) {
        return Err(format!(
            "the NATS stream `{stream}` belongs to another application: it stores the subjects {subjects} instead of [\"{}\"]; \
             give the log another name",
            names.entries
        ));
    }
    let mut wrong = Vec::new();
    let found = config.get("num_replicas").and_then(Value::as_u64);
    if found.is_none_or(|found| found < replicas as u64) {
        wrong.push(format!(
            "`num_replicas` is {} and must be at least {replicas} (an entry survives the loss of a server; \
             `NatsLog::replicas(1)` is for a log that need not)",
            found.unwrap_or_default()
        ));
    }
    for Setting {
        name,
        value,
        reason,
    } in settings()
    {
        let found = config.get(name).unwrap_or(&Value::Null);
        if *found != value && !(is_absent(found) && is_absent(&value)) {
            wrong.push(format!(
                "`{name}` is {found} and must be {value} ({reason})"
            ));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the NATS stream `{stream}` is not safe to use: {}; change it with `nats stream edit {stream}`, or give the log another name \
         and let the store create its stream",
        wrong.join("; ")
    ))
}

/// Whether the server leaves a setting of this value out.
fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests {
    use super::*;

    fn created() -> Map<String, Value> {
        match creation(&Names::new("shop"), 3) {
            Value::Object(config) => config,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        for version in [
            "2.12.0",
            "2.12.0-beta.1",
            "2.15.1",
            "v2.100.3",
            "3.0.0",
            "2.12",
        ] {
            assert!(is_new_enough(version), "{version}");
        }
        for version in [
            "2.11.9",
            "2.9.25",
            "1.99.0",
            "0.12.0",
            "",
            "2",
            "two.twelve",
            "2.x.1",
        ] {
            assert!(!is_new_enough(version), "{version}");
        }
    }

    #[test]
    fn the_settings_of_the_creation_are_accepted() {
        let names = Names::new("shop");
        assert_eq!(check(&created(), &names, 3), Ok(()));
        assert_eq!(
            check(&created(), &names, 1),
            Ok(()),
            "more replicas than asked for"
        );
    }

    #[test]
    fn each_other_setting_is_refused_by_its_name() {
        let names = Names::new("shop");
        for Setting { name, value, .. } in settings() {
            let other = match value {
                Value::Bool(value) => json!(!value),
                Value::Number(_) => json!(7),
                _ => json!("other"),
            };
            let mut config = created();
            config.insert(name.to_owned(), other);
            let refused = check(&config, &names, 3).unwrap_err();
            assert!(refused.contains(&format!("`{name}` is")), "{refused}");
            assert!(refused.contains("nats stream edit shop"), "{refused}");
        }
        for name in ["deny_delete", "deny_purge", "storage", "max_msgs"] {
            let mut config = created();
            config.remove(name);
            let refused = check(&config, &names, 3).unwrap_err();
            assert!(refused.contains(&format!("`{name}` is null")), "{refused}");
        }
        let mut config = created();
        config["num_replicas"] = json!(2);
        let refused = check(&config, &names, 3).unwrap_err();
        assert!(refused.contains("`num_replicas` is 2"), "{refused}");
    }

    #[test]
    fn the_stream_of_another_application_is_refused() {
        for subjects in [
            json!(["orders.>"]),
            json!(["eventfold.shop.entries", "orders"]),
            Value::Null,
        ] {
            let mut config = created();
            config.insert("subjects".to_owned(), subjects);
            let refused = check(&config, &Names::new("shop"), 3).unwrap_err();
            assert!(refused.contains("another application"), "{refused}");
        }
    }
}
