//! A synchronous standby. A commit that waits for it is on the disk of the primary: only its acknowledgement is missing.

use std::thread;

use eventfold_es::postgres::{Client, NoTls};
use eventfold_es::replication::{AppendError, CommitLog, PostgresLog};

use super::{append, must_append, number_of_entries, open, wait_for};
use crate::server::Server;

/// A primary with a standby, and the URL of a database for a role whose own settings are wrong.
fn pair() -> (Server, Server, String) {
    let primary = Server::start(true);
    let standby = primary.standby("copy");
    for statement in [
        "CREATE ROLE clerk LOGIN SUPERUSER",
        "ALTER ROLE clerk SET synchronous_commit = off",
        "ALTER ROLE clerk SET default_transaction_read_only = on",
        "ALTER ROLE clerk SET default_transaction_isolation = serializable",
        "ALTER SYSTEM SET synchronous_standby_names = 'copy'",
        "SELECT pg_reload_conf()",
    ] {
        primary.run(statement).unwrap();
    }
    let url = primary.database();
    wait_for("the standby", || {
        let mut client = Client::connect(&url, NoTls).unwrap();
        let count = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        client.query_one(count, &[]).unwrap().get::<_, i64>(0) == 1
    });
    let url = url.replace("postgres@", "clerk@");
    (primary, standby, url)
}

/// Ends the wait of the append that waits for the standby, with a function of the server.
fn interrupt(url: &str, function: &str) {
    let mut client = Client::connect(&url.replace("clerk@", "postgres@"), NoTls).unwrap();
    let statement = format!(
        "SELECT count({function}(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = 'clerk'"
    );
    wait_for("a wait for the standby", || {
        client.query_one(&statement, &[]).unwrap().get::<_, i64>(0) > 0
    });
}

#[test]
fn an_entry_is_not_acknowledged_without_the_standby() {
    let (primary, standby, url) = pair();
    let (log, other) = (open(&url), open(&url));
    must_append(&log, 0);
    assert_eq!(number_of_entries(&other), 1);

    standby.suspend();
    let appended = append(&log, 1);
    assert!(
        matches!(appended, Err(AppendError::Unknown(_))),
        "{appended:?}"
    );
    // The entry that waits is not visible, and it locks its number. No connection is left behind for each attempt.
    assert_eq!(number_of_entries(&other), 1);
    wait_for("the end of a wait for the number", || {
        matches!(append(&other, 1), Err(AppendError::Unavailable(_)))
    });
    wait_for("the fence", || {
        append(&other, 2) == Err(AppendError::Fenced)
    });
    standby.wake();
    wait_for("the entry", || number_of_entries(&other) == 2);
    must_append(&other, 2);
    assert_eq!(number_of_entries(&log), 3);

    for (function, after) in [("pg_cancel_backend", 3), ("pg_terminate_backend", 4)] {
        standby.suspend();
        let appended = thread::scope(|scope| {
            let appends = scope.spawn(|| append(&log, after));
            interrupt(&url, function);
            appends.join().unwrap()
        });
        standby.wake();
        assert!(
            matches!(appended, Err(AppendError::Unknown(_))),
            "{function}: {appended:?}"
        );
        // It is on the primary all the same.
        wait_for("the entry", || number_of_entries(&other) == after + 1);
    }

    // With both hosts, a node finds the one that takes entries, before and after a failover.
    let address = |server: &Server| format!("127.0.0.1:{}", server.port());
    let both = url.replace(
        &address(&primary),
        &format!("{},{}", address(&standby), address(&primary)),
    );
    let both = both.replace("clerk@", "postgres@");
    let follows = open(&both);
    must_append(&follows, 5);
    let promoted = url.replace(&address(&primary), &address(&standby));
    drop(primary);
    let refused = PostgresLog::connect(promoted.replace("clerk@", "postgres@"), "shop").open();
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("the server is a standby") && refused.contains("promote"),
        "{refused}"
    );
    standby.run("SELECT pg_promote()").unwrap();
    assert_eq!(number_of_entries(&open(&promoted)), 6);
    must_append(&follows, 6);
    assert_eq!(number_of_entries(&follows), 7);
}
