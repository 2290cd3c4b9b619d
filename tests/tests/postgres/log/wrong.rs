//! Servers, databases and accounts that a log cannot use: the message says what is wrong and what to do.

use std::time::Duration;

use eventfold_es::postgres::{Client, NoTls};
use eventfold_es::replication::{AppendError, CommitLog, LogError, PostgresLog};

use super::{append, must_append, open};
use crate::server::{Server, durable, shared};

/// Opens a log that is unusable. The message has all the texts.
fn refuse(url: &str, texts: &[&str]) {
    let log = PostgresLog::connect(url, "shop");
    let refused = log.open().unwrap_err();
    assert!(matches!(refused, LogError::Unusable(_)), "{refused:?}");
    for text in texts {
        assert!(
            refused.to_string().contains(text),
            "`{text}` is not in: {refused}"
        );
    }
}

/// A database in which statements were run.
fn database(statements: &str) -> String {
    let url = durable().database();
    Client::connect(&url, NoTls)
        .unwrap()
        .batch_execute(statements)
        .unwrap();
    url
}

#[test]
fn a_server_that_loses_entries_in_a_power_loss() {
    refuse(
        &shared().database(),
        &["`fsync = off`", "run `ALTER SYSTEM SET fsync = on`"],
    );
    let server = Server::start(true);
    server
        .run("ALTER SYSTEM SET full_page_writes = off")
        .unwrap();
    server.run("SELECT pg_reload_conf()").unwrap();
    let url = server.database();
    super::wait_for("the setting", || {
        PostgresLog::connect(&url, "shop").open().is_err()
    });
    refuse(&url, &["`full_page_writes = off`", "ALTER SYSTEM"]);
}

#[test]
fn a_table_of_another_application() {
    for table in [
        "CREATE TABLE eventfold_log (id bigint PRIMARY KEY, line text)",
        "CREATE TABLE eventfold_log (log text, seq bigint, body jsonb, PRIMARY KEY (log, seq))",
        "CREATE TABLE eventfold_log (log text, seq bigint, body text)",
        "CREATE TABLE eventfold_log (log text, seq bigint, body text, PRIMARY KEY (seq, log))",
        "CREATE TABLE eventfold_log (log text, seq bigint, body text, PRIMARY KEY (log, seq) DEFERRABLE)",
        "CREATE VIEW eventfold_log AS SELECT 'a'::text AS log, 1::bigint AS seq, 'b'::text AS body",
    ] {
        refuse(
            &database(table),
            &["is not that of a log", "another schema"],
        );
    }
    let unlogged = "CREATE UNLOGGED TABLE eventfold_log (log text, seq bigint, body text, PRIMARY KEY (log, seq))";
    refuse(
        &database(unlogged),
        &["does not survive a crash", "SET LOGGED"],
    );
}

#[test]
fn an_account_without_rights() {
    durable().run("CREATE ROLE stranger LOGIN").unwrap();
    let url = database("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let stranger = url.replace("postgres@", "stranger@");
    refuse(
        &stranger,
        &[
            "is missing, and cannot be created",
            "permission denied",
            "CREATE TABLE",
            "grant",
        ],
    );
    drop(open(&url));
    refuse(
        &stranger,
        &[
            "`stranger`",
            "run `GRANT SELECT, INSERT ON eventfold_log TO \"stranger\"`",
        ],
    );
    Client::connect(&url, NoTls)
        .unwrap()
        .batch_execute("GRANT SELECT, INSERT ON eventfold_log TO stranger")
        .unwrap();
    must_append(&open(&stranger), 0);

    refuse(
        &url.replace("postgres@", "nobody_here@"),
        &["nobody_here", "Check the user"],
    );
    let (server, _) = url.rsplit_once('/').unwrap();
    refuse(
        &format!("{server}/nowhere"),
        &["nowhere", "Check the user, the password and the database"],
    );
}

#[test]
fn a_database_with_another_encoding() {
    let server = durable();
    server.run("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0").unwrap();
    refuse(&server.url("latin"), &["LATIN1", "ENCODING 'UTF8'"]);
}

#[test]
fn a_wrong_url_is_named_without_the_password() {
    for (url, text) in [
        (
            "postgresql://me:hunter2@localhost/db?colour=red",
            "unknown option `colour`",
        ),
        (
            "postgresql://me:hunter2@localhost:port/db",
            "invalid value for option `port`",
        ),
        (
            "postgresql://me:not@hunter2?hunter2=@localhost/db",
            "unescaped characters",
        ),
        ("host=localhost password=not hunter2=x", "not a URL"),
    ] {
        let log = PostgresLog::connect(url, "shop");
        let refused = log.open().unwrap_err();
        let texts = format!("{refused} {} {log:?}", log.describe());
        assert!(texts.contains(text), "{texts}");
        assert!(!texts.contains("hunter2"), "{texts}");
        assert!(matches!(refused, LogError::Unusable(_)), "{refused:?}");
    }
}

#[test]
fn no_server_at_all() {
    let log = PostgresLog::connect("postgresql://me:hunter2@127.0.0.1:1/db", "shop");
    assert!(
        matches!(append(&log, 0), Err(AppendError::Unavailable(text)) if text.contains("call `open` first"))
    );
    let refused = log.open().unwrap_err();
    assert!(matches!(refused, LogError::Unavailable(_)), "{refused:?}");
    assert!(
        refused.to_string().contains("`db` at 127.0.0.1:1"),
        "{refused}"
    );
    assert_eq!(
        log.describe(),
        "the log `shop` in the PostgreSQL database `db` at 127.0.0.1:1"
    );
    assert!(matches!(append(&log, 0), Err(AppendError::Unavailable(_))));
    assert!(matches!(log.read(1, 100), Err(LogError::Unavailable(_))));
    // A later attempt may succeed.
    std::thread::sleep(Duration::from_millis(1));
    assert!(log.open().is_err());
}

#[test]
fn a_wrong_name() {
    let url = durable().database();
    for name in ["", "two\nlines", &"x".repeat(513)] {
        let refused = PostgresLog::connect(&url, name).open().unwrap_err();
        assert!(matches!(refused, LogError::Unusable(_)), "{refused:?}");
        assert!(
            refused.to_string().contains("use a name of 1 to 512 bytes"),
            "{refused}"
        );
    }
}

/// A text that the server refuses is refused by the log; the connection goes on.
#[test]
fn an_entry_with_a_nul() {
    let log = open(&durable().database());
    let refused = log.append(0, "a\0b\n".into());
    assert!(
        matches!(refused, Err(AppendError::Refused(_))),
        "{refused:?}"
    );
    must_append(&log, 0);
}
