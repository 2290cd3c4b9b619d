//! Servers, streams and users with which a log is refused, and the words of the refusal.

use std::sync::Arc;

use eventfold_es::replication::{AppendError, CommitLog as _, LogError, NatsLog};
use serde_json::{Value, json};

use crate::admin;
use crate::servers::{Servers, Settings};

/// The words with which a log is refused for good.
fn refused(log: &NatsLog) -> String {
    match log.open() {
        Err(LogError::Unusable(words)) => words,
        other => panic!("{} is opened: {other:?}", log.describe()),
    }
}

/// The settings of a stream that a log creates with one replica.
fn good(servers: &Servers) -> Value {
    let log = servers.open("good");
    drop(log);
    let mut info = admin::api(
        &servers.addresses("store"),
        "STREAM.INFO.good",
        &json!(null),
    );
    let config = info["config"].as_object_mut().unwrap();
    config.remove("metadata");
    config.remove("duplicate_window");
    info["config"].clone()
}

#[test]
fn streams_with_other_settings_are_refused_by_the_setting() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let store = servers.addresses("store");
    let good = good(&servers);
    for (index, (setting, value, words)) in [
        (
            "storage",
            json!("memory"),
            "`storage` is \"memory\" and must be \"file\"",
        ),
        (
            "retention",
            json!("workqueue"),
            "`retention` is \"workqueue\" and must be \"limits\"",
        ),
        ("max_msgs", json!(1000), "`max_msgs` is 1000 and must be -1"),
        ("max_bytes", json!(100_000), "`max_bytes` is 100000"),
        (
            "max_age",
            json!(60_000_000_000_u64),
            "`max_age` is 60000000000",
        ),
        (
            "max_msgs_per_subject",
            json!(1000),
            "`max_msgs_per_subject` is 1000",
        ),
        ("max_msg_size", json!(1000), "`max_msg_size` is 1000"),
        ("discard", json!("old"), "`discard` is \"old\""),
        (
            "deny_delete",
            json!(false),
            "`deny_delete` is false and must be true",
        ),
        ("deny_purge", json!(false), "`deny_purge` is false"),
        ("allow_direct", json!(true), "`allow_direct` is true"),
        ("allow_msg_ttl", json!(true), "`allow_msg_ttl` is true"),
        ("allow_atomic", json!(true), "`allow_atomic` is true"),
        (
            "persist_mode",
            json!("async"),
            "`persist_mode` is \"async\"",
        ),
        ("no_ack", json!(true), "`no_ack` is true"),
        ("first_seq", json!(10), "`first_seq` is 10"),
        (
            "republish",
            json!({ "src": ">", "dest": "copies.>" }),
            "`republish` is",
        ),
        (
            "subject_transform",
            json!({ "src": "eventfold.>", "dest": "other.>" }),
            "`subject_transform` is",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("wrong{index}");
        let mut config = good.clone();
        config["name"] = json!(name);
        config["subjects"] = json!([format!("eventfold.{name}.entries")]);
        config[setting] = value;
        admin::create(&store, &name, &config);
        let found = refused(&servers.log(&name));
        assert!(found.contains(words), "{setting}: {found}");
        assert!(
            found.contains(&format!("nats stream edit {name}")),
            "{setting}: {found}"
        );
    }
}

#[test]
fn the_streams_of_other_applications_are_refused_and_stay_as_they_are() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let store = servers.addresses("store");
    admin::create(&store, "orders", &json!({ "subjects": ["orders.>"] }));
    let words = refused(&servers.log("orders"));
    assert!(words.contains("belongs to another application"), "{words}");
    let info = admin::api(&store, "STREAM.INFO.orders", &json!(null));
    assert_eq!(info["config"]["subjects"], json!(["orders.>"]));

    // It takes the subjects of everybody.
    admin::create(
        &store,
        "archive",
        &json!({ "subjects": ["eventfold.>"], "no_ack": true }),
    );
    let words = refused(&servers.log("shop"));
    assert!(words.contains("subjects overlap"), "{words}");
}

#[test]
fn a_stream_that_has_lost_an_entry_is_refused() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let store = servers.addresses("store");
    let mut config = good(&servers);
    config["name"] = json!("shop");
    config["subjects"] = json!(["eventfold.shop.entries"]);
    config["deny_delete"] = json!(false);
    config["deny_purge"] = json!(false);
    for (name, lost) in [("first", 1), ("middle", 2)] {
        config["name"] = json!(name);
        config["subjects"] = json!([format!("eventfold.{name}.entries")]);
        admin::create(&store, name, &config);
        for _ in 0..3 {
            admin::publish(&store, &format!("eventfold.{name}.entries"), b"entry\n");
        }
        let delete = format!("STREAM.MSG.DELETE.{name}");
        let deleted = admin::api(&store, &delete, &json!({ "seq": lost }));
        assert_eq!(deleted["success"], json!(true), "{deleted}");
        let mut denied = config.clone();
        denied["deny_delete"] = json!(true);
        denied["deny_purge"] = json!(true);
        let updated = admin::api(&store, &format!("STREAM.UPDATE.{name}"), &denied);
        assert!(updated["error"].is_null(), "{updated}");
        let words = refused(&servers.log(name));
        assert!(
            words.contains("has lost entries: it holds 2 of 3"),
            "{words}"
        );
    }
}

#[test]
fn a_stream_that_is_deleted_is_not_an_empty_log() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let log = servers.open("shop");
    log.append(0, "a\n".into()).unwrap();
    let deleted = admin::api(
        &servers.addresses("store"),
        "STREAM.DELETE.shop",
        &json!(null),
    );
    assert_eq!(deleted["success"], json!(true), "{deleted}");
    let words = log.read(1, 1000).unwrap_err();
    assert!(
        matches!(&words, LogError::Unusable(words) if words.contains("is gone")),
        "{words}"
    );
    let words = log.append(1, "b\n".into()).unwrap_err();
    assert!(matches!(words, AppendError::Unavailable(_)), "{words}");
}

#[test]
fn an_entry_that_is_no_text_is_named() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let log = servers.open("shop");
    log.append(0, "a\n".into()).unwrap();
    admin::publish(
        &servers.addresses("store"),
        "eventfold.shop.entries",
        &[0xff, 0xfe],
    );
    let words = log.read(2, 1000).unwrap_err().to_string();
    assert!(
        words.contains("the entry 2 of the NATS stream `shop` is no text"),
        "{words}"
    );
}

#[test]
fn a_stream_with_one_replica_is_used_on_request_only() {
    let Some(servers) = Servers::three() else {
        return;
    };
    let all = servers.addresses("store");
    let alone = NatsLog::connect(&all, "alone").replicas(1);
    alone.open().unwrap();
    alone.append(0, "a\n".into()).unwrap();
    let words = refused(&NatsLog::connect(&all, "alone"));
    assert!(
        words.contains("`num_replicas` is 1 and must be at least 3"),
        "{words}"
    );
    assert!(words.contains("NatsLog::replicas(1)"), "{words}");

    let three = NatsLog::connect(&all, "three");
    three.open().unwrap();
    NatsLog::connect(&all, "three").replicas(1).open().unwrap();
}

#[test]
fn one_server_holds_no_three_replicas() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let words = refused(&NatsLog::connect(servers.addresses("store"), "shop"));
    assert!(words.contains("with 3 replicas"), "{words}");
    assert!(words.contains("NatsLog::replicas"), "{words}");
}

#[test]
fn servers_without_jetstream_and_accounts_without_it_are_refused() {
    let settings = Settings {
        no_jetstream: true,
        ..Settings::default()
    };
    let Some(servers) = Servers::start(1, &settings) else {
        return;
    };
    let plain = servers.addresses("store").replace("store:hunter2@", "");
    let words = refused(&NatsLog::connect(plain, "shop").replicas(1));
    assert!(words.contains("JetStream is not enabled"), "{words}");

    let servers = Servers::one().unwrap();
    let words = refused(&NatsLog::connect(servers.addresses("poor"), "shop").replicas(1));
    assert!(words.contains("not for this account"), "{words}");
}

#[test]
fn servers_that_do_not_sync_are_refused_where_they_say_so() {
    let settings = Settings {
        no_sync: true,
        ..Settings::default()
    };
    let Some(servers) = Servers::start(1, &settings) else {
        return;
    };
    let words = refused(&servers.log("shop"));
    assert!(
        words.contains("the NATS servers n0 acknowledge entries that are not on the disk yet"),
        "{words}"
    );
    assert!(words.contains("sync_interval: always"), "{words}");
    // This account cannot ask.
    let blind = NatsLog::connect(servers.addresses("blind"), "shop").replicas(1);
    blind.open().unwrap();
    blind.append(0, "a\n".into()).unwrap();
}

#[test]
fn one_server_of_three_that_does_not_sync_is_named() {
    let Some(servers) = Servers::start_with(3, |index| Settings {
        no_sync: index == 1,
        ..Settings::default()
    }) else {
        return;
    };
    let words = loop {
        match NatsLog::connect(servers.addresses("store"), "shop").open() {
            // They do not know each other yet.
            Err(LogError::Unavailable(_)) => {}
            Err(LogError::Unusable(words)) => break words,
            other => panic!("{other:?}"),
        }
    };
    assert!(words.contains("the NATS servers n1 acknowledge"), "{words}");
}

#[test]
fn a_user_without_a_permission_is_told_which() {
    let Some(servers) = Servers::one() else {
        return;
    };
    // The permissions that the documentation lists are enough, and no other user has them for another log.
    let exact = NatsLog::connect(servers.addresses("exact"), "shop").replicas(1);
    exact.open().unwrap();
    for number in 0..200 {
        exact.append(number, "entry\n".into()).unwrap();
    }
    let again = NatsLog::connect(servers.addresses("exact"), "shop").replicas(1);
    again.open().unwrap();
    assert_eq!(again.read(1, 1_000_000).unwrap().len(), 200);

    for (user, name, words) in [
        ("no_api", "shop", "$JS.API.INFO"),
        ("no_create", "other", "$JS.API.STREAM.CREATE.other"),
        ("no_append", "shop", "eventfold.shop.entries"),
        ("no_read", "shop", "$JS.API.STREAM.MSG.GET.shop"),
        ("no_consumer", "shop", "$JS.API.CONSUMER.CREATE.shop"),
        ("no_tell", "shop", "eventfold.shop.node.probe"),
        ("deaf", "shop", "eventfold.shop.node.*"),
        ("unasked", "shop", "eventfold.shop.ask.-"),
    ] {
        let found = refused(&NatsLog::connect(servers.addresses(user), name).replicas(1));
        let said = format!(
            "iolation for {}",
            if matches!(user, "deaf" | "unasked") {
                "Subscription"
            } else {
                "Publish"
            }
        );
        assert!(
            found.contains(&said) && found.contains(words),
            "{user}: {found}"
        );
        assert!(
            found.contains("a node publishes to `$JS.API.INFO`"),
            "{user}: {found}"
        );
        assert!(!found.contains("hunter2"), "{user}: {found}");
    }
}

#[test]
fn wrong_addresses_and_users_are_named_without_the_password() {
    let Some(servers) = Servers::one() else {
        return;
    };
    let port = servers.address(0, "store");
    for (address, words) in [
        ("", "there is no address"),
        (
            "nats://me:hunter2@127.0.0.1:port",
            "nats://127.0.0.1:port cannot be read",
        ),
        (
            "nats://me:hunter2@127.0.0.1:1",
            "no NATS server answers at nats://127.0.0.1:1",
        ),
        (
            &port.replace("store:hunter2", "store:hunter3"),
            "refuse this user",
        ),
        (
            &port.replace("store:hunter2", "hunter2"),
            "refuse this user",
        ),
        (&port.replace("store:", "nobody:"), "refuse this user"),
    ] {
        let log = NatsLog::connect(address, "shop").replicas(1);
        let error = log.open().unwrap_err().to_string();
        assert!(error.contains(words), "{address}: {error}");
        for text in [error, log.describe(), format!("{log:?}")] {
            assert!(!text.contains("hunter"), "{text}");
        }
    }
    for name in ["", "a.b", "a b"] {
        let words = refused(&NatsLog::connect(&port, name));
        assert!(words.contains("is not the name of a log"), "{words}");
    }
}

#[test]
fn an_entry_over_the_limit_is_refused_with_the_setting() {
    let settings = Settings {
        more: "max_payload: 65536\n",
        ..Settings::default()
    };
    let Some(servers) = Servers::start(1, &settings) else {
        return;
    };
    let log = servers.open("shop");
    let limit = log.max_entry_bytes();
    assert!((60_000..65_536).contains(&limit), "{limit}");
    let largest: Arc<str> = "x".repeat(limit).into();
    log.append(0, Arc::clone(&largest)).unwrap();
    assert_eq!(log.read(1, 1).unwrap()[0].text, largest);
    let AppendError::Refused(words) = log.append(1, "x".repeat(limit + 1).into()).unwrap_err()
    else {
        panic!("stored");
    };
    assert!(words.contains("max_payload"), "{words}");
    assert_eq!(log.read(2, 1).unwrap(), []);
}
