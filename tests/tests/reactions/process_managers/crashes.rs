use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::store::InstanceStatus;
use eventfold_es::testing::{CrashPoints, Crashes};
use eventfold_es_tests::campaign::{fewest, size};

use crate::process_managers::domain::{
    OrderEvent, Saga, Tell, clock, continued, exactly_once, fanned, finished, log_of, refused,
    started, tell, told, with_saga,
};

/// Tells `events` and checks after each crash that each was reacted to exactly once, and then `check`.
async fn crash(
    events: impl IntoIterator<Item = OrderEvent>,
    check: impl AsyncFn(&AggregateStore, &[OrderEvent]),
) -> Crashes {
    let clock = clock();
    CrashPoints::new()
        .at_most(size(80, 10_000))
        .for_each(
            |builder| with_saga(builder, &clock, RunMode::Inline),
            async |store| {
                for event in events {
                    tell(&store, event).await;
                }
            },
            async |store| {
                let told = exactly_once(&store).await;
                check(&store, &told).await;
            },
        )
        .await
}

fn assert_many(crashes: &Crashes) {
    assert!(crashes.points >= fewest(), "{crashes:?}");
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_1_a_crash_after_a_dispatch_and_before_the_progress_is_saved() {
    let crashes = crash([started("a")], async |store, _| {
        // It goes on, and nothing of before comes again.
        tell(store, continued("a", "later")).await;
        exactly_once(store).await;
    });
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_2_a_crash_at_any_moment_of_a_reaction_with_several_commands() {
    let events = [started("a"), continued("a", "x"), continued("a", "y")];
    assert_many(&crash(events, async |_, _| {}).await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_3_a_start_is_not_reported_as_already_started() {
    let crashes = crash([started("a"), started("b")], async |store, events| {
        let saga = store.process_manager::<Saga>().unwrap();
        let status = saga.status().await.unwrap();
        assert_eq!(status.ignored, 0);
        assert_eq!(status.instances.open, events.len() as u64);
        assert_eq!(saga.dead_letters().await.unwrap(), []);
    });
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_4_a_completed_instance_is_completed_after_the_crash() {
    let crashes = crash([started("a"), finished("a")], async |store, events| {
        let saga = store.process_manager::<Saga>().unwrap();
        let instance = saga.instance("a").await.unwrap();
        let status = instance.map(|instance| instance.status);
        let expected = match events.len() {
            0 => None,
            1 => Some(InstanceStatus::Open),
            _ => Some(InstanceStatus::Completed),
        };
        assert_eq!(status, expected);
        // What comes for it later is ignored.
        tell(store, continued("b", "nothing")).await;
        exactly_once(store).await;
    });
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_5_the_same_id_is_started_again() {
    let events = [
        started("a"),
        continued("a", "x"),
        finished("a"),
        started("a"),
    ];
    let crashes = crash(events, async |store, _| {
        tell(store, finished("a")).await;
        tell(store, started("a")).await;
        tell(store, continued("a", "again")).await;
        exactly_once(store).await;
        assert_eq!(log_of(store, "a").await.last().unwrap(), "again of 2");
    });
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_6_what_an_instance_sends_when_it_completes_survives() {
    let crashes = crash([started("a"), finished("a")], async |store, events| {
        if events.len() == 2 {
            assert_eq!(log_of(store, "a").await, ["start", "finish of 2"]);
        }
    });
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_7_a_crash_just_after_the_dispatch() {
    let crashes = crash([started("a"), continued("a", "x")], async |store, _| {
        // A second run has nothing to do.
        let report = store.run_process_managers().await.unwrap();
        let again = store.run_process_managers().await.unwrap();
        assert_eq!(
            (again.dispatched, again.dead_lettered),
            (0, 0),
            "{report:?}"
        );
    });
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_8_the_same_input_again_before_and_after_clean_up() {
    let clock = clock();
    let keyed = |number: u32| CommandContext::default().with_idempotency_key(number.to_string());
    let events = || [started("a"), continued("a", "x"), finished("a")];
    let send = async |store: &AggregateStore| {
        for (number, event) in (0..).zip(events()) {
            let sent = store.send("orders", Tell(event), keyed(number));
            sent.await.unwrap();
        }
    };
    let crashes = CrashPoints::new().at_most(size(80, 10_000)).for_each(
        |builder| with_saga(builder, &clock, RunMode::Inline),
        async |store| {
            send(&store).await;
            send(&store).await;
        },
        async |store| {
            exactly_once(&store).await;
            send(&store).await;
            assert_eq!(exactly_once(&store).await, events());
            send(&store).await;
            assert_eq!(exactly_once(&store).await, events());
        },
    );
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_9_recovery_runs_while_the_same_work_is_live() {
    let clock = clock();
    let crashes = CrashPoints::new().at_most(size(40, 10_000)).for_each(
        |builder| with_saga(builder, &clock, RunMode::Background),
        async |store| {
            tell(&store, started("a")).await;
            for tag in ["x", "y", "z"] {
                tell(&store, continued("a", tag)).await;
            }
        },
        async |store| {
            // What waits is caught up with while more is told and others wait for the same.
            let telling = async {
                tell(&store, started("a")).await;
                tell(&store, continued("a", "live")).await;
            };
            let (first, second, ()) = tokio::join!(
                store.run_process_managers(),
                store.run_process_managers(),
                telling
            );
            first.unwrap();
            second.unwrap();
            store.run_process_managers().await.unwrap();
            exactly_once(&store).await;
        },
    );
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_15_a_crash_while_a_dead_letter_is_written() {
    let clock = clock();
    let crashes = CrashPoints::new().at_most(size(120, 10_000)).for_each(
        |builder| with_saga(builder, &clock, RunMode::Inline),
        async |store| {
            tell(&store, started("a")).await;
            tell(&store, refused("a", "one")).await;
            tell(&store, refused("a", "two")).await;
        },
        async |store| {
            let events = told(&store).await;
            let expected = events.len().saturating_sub(1);
            let saga = store.process_manager::<Saga>().unwrap();
            let letters = saga.dead_letters().await.unwrap();
            let reasons: Vec<_> = letters
                .iter()
                .map(|letter| letter.error().to_owned())
                .collect();
            let all = ["`one` is refused", "`two` is refused"];
            assert_eq!(reasons, all[..expected]);
            // The record that people read has the same.
            let record = store.dead_letters::<Saga>().await.unwrap();
            assert_eq!(record.len(), expected);
        },
    );
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_18_a_reply_arrives_before_the_start_is_durable() {
    let clock = clock();
    let crashes = CrashPoints::new().at_most(size(60, 10_000)).for_each(
        |builder| with_saga(builder, &clock, RunMode::Background),
        async |store| {
            // All are on their way at once, and share batches.
            let ((), (), ()) = tokio::join!(
                tell(&store, started("a")),
                tell(&store, continued("a", "reply")),
                tell(&store, finished("a"))
            );
        },
        async |store| {
            exactly_once(&store).await;
        },
    );
    assert_many(&crashes.await);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_19_one_event_fans_out_to_many_instances() {
    let keys = ["a", "b", "c", "d", "e", "b"];
    let crashes = crash(
        [started("c"), fanned(&keys), fanned(&["e", "f"])],
        async |store, events| {
            let saga = store.process_manager::<Saga>().unwrap();
            let open = saga.status().await.unwrap().instances.open;
            assert_eq!(open, [0, 1, 5, 6][events.len()]);
        },
    );
    assert_many(&crashes.await);
}
