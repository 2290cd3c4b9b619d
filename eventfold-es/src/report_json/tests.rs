//! The JSON of every report, status and dead letter, byte by byte: dashboards and scripts depend on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::rfc_3339;
use crate::replication::{Node, Role};
use crate::store::*;
use crate::*;

fn assert_json(report: &impl Serialize, expected: &str) {
    let json = serde_json::to_string(report);
    assert_eq!(json.ok().as_deref(), Some(expected));
}

fn damage() -> Damage {
    Damage::new("shop/journal/app.jsonl", 512, "the checksum differs")
}

const DAMAGE: &str =
    r#"{"path":"shop/journal/app.jsonl","offset":512,"reason":"the checksum differs"}"#;

fn due() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_250)
}

fn source() -> SourceEvent {
    SourceEvent {
        aggregate_type: "order".into(),
        stream_id: "ord-1".into(),
        position: 7,
        version: 2,
        event_type: "Placed".into(),
        event_id: Some("e-1".into()),
        correlation_id: None,
    }
}

const SOURCE: &str = r#"{"aggregate_type":"order","stream_id":"ord-1","position":7,"version":2,"event_type":"Placed","event_id":"e-1"}"#;

fn envelope() -> CommandEnvelope {
    CommandEnvelope {
        aggregate_type: "inventory".into(),
        instance_id: "inv-1".into(),
        command: serde_json::json!({ "Reserve": { "qty": 2 } }),
        context: CommandContext::default(),
    }
}

const ENVELOPE: &str = r#"{"aggregate_type":"inventory","instance_id":"inv-1","command":{"Reserve":{"qty":2}},"context":{"actor":null,"correlation_id":null,"metadata":null}}"#;

fn parked_at() -> ParkedAt {
    ParkedAt {
        position: 7,
        reason: "it panicked".into(),
    }
}

const PARKED_AT: &str = r#"{"position":7,"reason":"it panicked"}"#;

#[test]
fn what_verify_and_repair_found() {
    assert_json(&damage(), DAMAGE);
    let verified = VerifyReport {
        commits: 2,
        events: 3,
        streams: 1,
        snapshots: 0,
        differences: vec![damage()],
    };
    let expected =
        format!(r#"{{"commits":2,"events":3,"streams":1,"snapshots":0,"differences":[{DAMAGE}]}}"#);
    assert_json(&verified, &expected);
    let repaired = RepairReport {
        found: vec![damage()],
        remaining: vec![],
    };
    let expected = format!(r#"{{"found":[{DAMAGE}],"remaining":[]}}"#);
    assert_json(&repaired, &expected);
}

#[test]
fn what_was_copied() {
    let backed_up = BackupReport {
        position: 4,
        commits: 3,
        bytes: 900,
        linked_bytes: 500,
        copied_bytes: 400,
    };
    let expected =
        r#"{"position":4,"commits":3,"bytes":900,"linked_bytes":500,"copied_bytes":400}"#;
    assert_json(&backed_up, expected);
    let exported = ExportReport {
        position: 4,
        streams: 2,
        events: 4,
        bytes: 700,
    };
    let expected = r#"{"position":4,"streams":2,"events":4,"bytes":700}"#;
    assert_json(&exported, expected);
    let imported = ImportReport {
        streams: 2,
        events: 3,
        skipped: 1,
        torn: 1,
        position: Some(7),
    };
    let expected = r#"{"streams":2,"events":3,"skipped":1,"torn":1,"position":7}"#;
    assert_json(&imported, expected);
    let expected = r#"{"streams":0,"events":0,"skipped":0,"torn":0,"position":null}"#;
    assert_json(&ImportReport::default(), expected);
}

#[test]
fn what_opening_found() {
    let adoption = AdoptionReport {
        streams: 1,
        events: 2,
        empty_streams: 3,
        unreadable_registry_lines: 4,
        unreadable_dead_letters: 5,
        quarantined: vec![QuarantinedStream {
            aggregate_type: "order".into(),
            instance_id: "ord-1".into(),
            damage: damage(),
        }],
        torn_tails: vec![TornTail {
            aggregate_type: "order".into(),
            instance_id: "ord-2".into(),
            kept_in: "shop/app-0.2.0.jsonl".into(),
            offset: 96,
            bytes: 12,
        }],
        process_managers: vec![AdoptedCheckpoint {
            name: "saga".into(),
            problem: Some("it is torn".into()),
        }],
        projections: vec![AdoptedCheckpoint {
            name: "totals".into(),
            problem: None,
        }],
    };
    let report = RecoveryReport {
        redone_commits: 1,
        reindexed_commits: 2,
        incomplete_batch: Some(IncompleteBatch {
            batch: 9,
            bytes: 100,
            saved_to: "shop/incomplete-9.jsonl".into(),
        }),
        adoption: Some(adoption),
        read_only: false,
    };
    let adoption = format!(
        r#"{{"streams":1,"events":2,"empty_streams":3,"unreadable_registry_lines":4,"unreadable_dead_letters":5,"quarantined":[{{"aggregate_type":"order","instance_id":"ord-1","damage":{DAMAGE}}}],"torn_tails":[{{"aggregate_type":"order","instance_id":"ord-2","kept_in":"shop/app-0.2.0.jsonl","offset":96,"bytes":12}}],"process_managers":[{{"name":"saga","problem":"it is torn"}}],"projections":[{{"name":"totals","problem":null}}]}}"#
    );
    let expected = format!(
        r#"{{"redone_commits":1,"reindexed_commits":2,"incomplete_batch":{{"batch":9,"bytes":100,"saved_to":"shop/incomplete-9.jsonl"}},"adoption":{adoption},"read_only":false}}"#
    );
    assert_json(&report, &expected);
    assert_json(
        &RecoveryReport::default(),
        r#"{"redone_commits":0,"reindexed_commits":0,"incomplete_batch":null,"adoption":null,"read_only":false}"#,
    );
}

#[test]
fn where_process_managers_stand() {
    let report = ProcessManagerReport {
        dispatched: 3,
        dead_lettered: 1,
    };
    assert_json(&report, r#"{"dispatched":3,"dead_lettered":1}"#);
    let status = ProcessManagerStatus {
        position: 6,
        lag: 1,
        is_paused: true,
        parked_at: Some(parked_at()),
        instances: InstanceCounts {
            open: 1,
            parked: 2,
            retrying: 3,
            completed: 4,
        },
        held_streams: 5,
        deadlines: 6,
        retrying: 7,
        dead_letters: 8,
        ignored: 9,
        skipped: 10,
    };
    let expected = format!(
        r#"{{"position":6,"lag":1,"is_paused":true,"parked_at":{PARKED_AT},"instances":{{"open":1,"parked":2,"retrying":3,"completed":4}},"held_streams":5,"deadlines":6,"retrying":7,"dead_letters":8,"ignored":9,"skipped":10}}"#
    );
    assert_json(&status, &expected);
    let rebuilt = RebuiltState {
        events: 1,
        deadlines: 2,
        instances: 3,
        reactions: Reactions::Done,
    };
    assert_json(
        &rebuilt,
        r#"{"events":1,"deadlines":2,"instances":3,"reactions":"done"}"#,
    );
}

#[test]
fn instances_with_their_states_and_deadlines() {
    let info = InstanceInfo {
        key: "ord-1".into(),
        generation: 1,
        status: InstanceStatus::Open,
        state: Some(r#"{"paid":false}"#.into()),
        deadlines: vec![("pay".into(), due())],
        parked: None,
    };
    assert_json(
        &info,
        r#"{"key":"ord-1","generation":1,"status":"open","state":{"paid":false},"deadlines":[{"name":"pay","due":"2023-11-14T22:13:20.250Z"}],"parked":null}"#,
    );
    let statuses = [
        InstanceStatus::Open,
        InstanceStatus::Parked,
        InstanceStatus::Completed,
    ];
    assert_json(&statuses, r#"["open","parked","completed"]"#);
}

#[test]
fn work_that_is_parked() {
    let parked = ParkedWork {
        instance: None,
        stream: Some(("order".into(), "ord-1".into())),
        parked: parked_at(),
        ts: 1_700_000_000,
        retries_at: Some(due()),
        held: 2,
    };
    let expected = format!(
        r#"{{"instance":null,"stream":{{"aggregate_type":"order","instance_id":"ord-1"}},"parked":{PARKED_AT},"ts":1700000000,"retries_at":"2023-11-14T22:13:20.250Z","held":2}}"#
    );
    assert_json(&parked, &expected);
    let parked = ParkedWork {
        instance: Some("ord-1".into()),
        stream: None,
        retries_at: None,
        ..parked
    };
    let expected = format!(
        r#"{{"instance":"ord-1","stream":null,"parked":{PARKED_AT},"ts":1700000000,"retries_at":null,"held":2}}"#
    );
    assert_json(&parked, &expected);
}

#[test]
fn dead_letters() {
    let entry = DeadLetterEntry {
        id: "7-0".into(),
        envelope: Some(envelope()),
        command_id: "c-1".into(),
        instance: "ord-1".into(),
        source: source(),
        deadline: None,
        attempts: vec![FailedAttempt {
            kind: "rejected".into(),
            error: "out of stock".into(),
            ts: 1_700_000_000,
        }],
    };
    let expected = format!(
        r#"{{"id":"7-0","envelope":{ENVELOPE},"command_id":"c-1","instance":"ord-1","source":{SOURCE},"deadline":null,"attempts":[{{"kind":"rejected","error":"out of stock","ts":1700000000}}]}}"#
    );
    assert_json(&entry, &expected);
    let letter = DeadLetter {
        envelope: envelope(),
        error: "out of stock".into(),
        ts: 1_700_000_000,
    };
    let expected = format!(r#"{{"envelope":{ENVELOPE},"error":"out of stock","ts":1700000000}}"#);
    assert_json(&letter, &expected);
    let report = OperatorReport {
        done: 1,
        failed: 2,
        unreadable: vec!["7-0".into()],
        reactions: Reactions::Done,
    };
    assert_json(
        &report,
        r#"{"done":1,"failed":2,"unreadable":["7-0"],"reactions":"done"}"#,
    );
}

#[test]
fn what_a_command_did() {
    let executed = Executed {
        events: vec!["Placed"],
        version: 1,
        position: Some(7),
        reactions: Reactions::Done,
    };
    assert_json(
        &executed,
        r#"{"events":["Placed"],"version":1,"position":7,"reactions":"done"}"#,
    );
    let done = CommittedCommand {
        version: Some(1),
        position: Some(7),
    };
    let committed = Committed {
        commands: vec![done, CommittedCommand::default()],
        position: Some(7),
        reactions: Reactions::Done,
    };
    assert_json(
        &committed,
        r#"{"commands":[{"version":1,"position":7},{"version":null,"position":null}],"position":7,"reactions":"done"}"#,
    );
    let loaded = Loaded {
        state: "placed",
        version: 3,
        exists: true,
    };
    assert_json(&loaded, r#"{"state":"placed","version":3,"exists":true}"#);
    let all = [
        Reactions::NotAwaited,
        Reactions::Done,
        Reactions::Retrying,
        Reactions::Parked,
        Reactions::Paused,
        Reactions::Stopped,
        Reactions::TimedOut,
        Reactions::Closed,
    ];
    assert_json(
        &all,
        r#"["not_awaited","done","retrying","parked","paused","stopped","timed_out","closed"]"#,
    );
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_does_not_cost_the_report() {
    use std::os::unix::ffi::OsStringExt;
    let path = std::ffi::OsString::from_vec(b"shop-\xff".to_vec());
    assert_json(
        &Damage::new(path, 0, "torn"),
        "{\"path\":\"shop-\u{fffd}\",\"offset\":0,\"reason\":\"torn\"}",
    );
}

#[test]
fn a_state_that_is_no_json_is_shown_as_text() {
    let info = InstanceInfo {
        key: "k".into(),
        generation: 1,
        status: InstanceStatus::Parked,
        state: Some("{".into()),
        deadlines: vec![],
        parked: Some(parked_at()),
    };
    let expected = format!(
        r#"{{"key":"k","generation":1,"status":"parked","state":"{{","deadlines":[],"parked":{PARKED_AT}}}"#
    );
    assert_json(&info, &expected);
}

#[test]
fn times_are_in_utc_to_the_millisecond() {
    let at = |seconds: u64| rfc_3339(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000Z");
    assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
    assert_eq!(at(951_868_800), "2000-03-01T00:00:00.000Z");
    assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
    assert_eq!(at(253_402_300_799), "9999-12-31T23:59:59.000Z");
    assert_eq!(at(253_402_300_800), "9999-12-31T23:59:59.999Z");
    assert_eq!(
        rfc_3339(UNIX_EPOCH - Duration::from_millis(1)),
        "1969-12-31T23:59:59.999Z"
    );
}

#[test]
fn health() {
    assert_json(&HealthStatus::Healthy, r#""healthy""#);
    assert_json(&HealthStatus::Unusable, r#""unusable""#);
    let journal = JournalHealth {
        bytes: 524_288,
        last_sync: Some(due()),
        last_checkpoint: None,
    };
    let process_manager = ProcessManagerHealth {
        name: "saga".into(),
        position: 6,
        lag: 1,
        lag_seconds: Some(12),
        is_paused: false,
        parked_at: Some(parked_at()),
        parked: 2,
        retrying: 3,
        dead_letters: 4,
        ended: None,
        is_elsewhere: false,
    };
    let projection = ProjectionHealth {
        name: "sales".into(),
        position: 7,
        lag: 0,
        lag_seconds: None,
        failure: Some("it panicked".into()),
        rebuild: Some(RebuildProgress { position: 3, of: 7 }),
        skipped: 1,
    };
    let health = Health {
        status: HealthStatus::Degraded,
        reasons: vec!["`saga` is paused".into()],
        role: None,
        node: None,
        position: 7,
        journal,
        process_managers: vec![process_manager],
        projections: vec![projection],
    };
    let expected = format!(
        r#"{{"status":"degraded","reasons":["`saga` is paused"],"position":7,"journal":{{"bytes":524288,"last_sync":"2023-11-14T22:13:20.250Z","last_checkpoint":null}},"process_managers":[{{"name":"saga","position":6,"lag":1,"lag_seconds":12,"is_paused":false,"parked_at":{PARKED_AT},"parked":2,"retrying":3,"dead_letters":4,"ended":null}}],"projections":[{{"name":"sales","position":7,"lag":0,"lag_seconds":null,"failure":"it panicked","rebuild":{{"position":3,"of":7}},"skipped":1}}]}}"#
    );
    assert_json(&health, &expected);

    let node = Node {
        name: "node-1".into(),
        address: None,
    };
    let forwarded = ForwardedHealth {
        questions: 31,
        executed: 29,
        rejected: 1,
        failed: 0,
        unknown: 1,
    };
    let figures = NodeHealth {
        name: "node-2".into(),
        term: Some(118),
        entry: 1204,
        lag_entries: 2,
        lag_events: 9,
        last_contact: Some(due()),
        claims: 3,
        handovers: 2,
        cut_offs: 1,
        reconnects: 1,
        appends: AppendHealth {
            acknowledged: 117,
            refused: 0,
            fenced: 1,
            unavailable: 2,
            unknown: 3,
            time: Duration::from_micros(1_500_250),
        },
        sent: forwarded,
        taken: ForwardedHealth::default(),
    };
    let told = concat!(
        r#""node":{"name":"node-2","term":118,"entry":1204,"lag_entries":2,"lag_events":9,"last_contact":"2023-11-14T22:13:20.250Z","#,
        r#""claims":3,"handovers":2,"cut_offs":1,"reconnects":1,"#,
        r#""appends":{"acknowledged":117,"refused":0,"fenced":1,"unavailable":2,"unknown":3,"seconds":1.50025},"#,
        r#""sent":{"questions":31,"executed":29,"rejected":1,"failed":0,"unknown":1},"#,
        r#""taken":{"questions":0,"executed":0,"rejected":0,"failed":0,"unknown":0}},"#,
    );
    let follower = Health {
        role: Some(Role::Follower { leader: Some(node) }),
        node: Some(figures),
        process_managers: health
            .process_managers
            .into_iter()
            .map(|one| ProcessManagerHealth {
                is_elsewhere: true,
                ..one
            })
            .collect(),
        ..health
    };
    let expected = expected
        .replace(
            r#""position":7,"journal""#,
            &format!(
                r#""role":"follower","leader":{{"name":"node-1","address":null}},{told}"position":7,"journal""#
            ),
        )
        .replace(r#""ended":null"#, r#""ended":null,"is_elsewhere":true"#);
    assert_json(&follower, &expected);
    let detached = Role::Detached {
        since: due(),
        reason: "no server answers".into(),
    };
    let expected =
        r#"{"role":"detached","since":"2023-11-14T22:13:20.250Z","reason":"no server answers"}"#;
    assert_json(&detached, expected);
}
