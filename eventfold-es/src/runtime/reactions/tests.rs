use super::*;

fn hub(names: &[&'static str]) -> Arc<ReactionHub> {
    let member = |name: &&'static str| Member {
        name,
        subscriptions: &["counter"],
        processed: 0,
        stays: None,
        is_paused: false,
        ignored: 0,
        skipped: 0,
        ended: None,
    };
    let members = names.iter().map(member).collect();
    Arc::new(ReactionHub::new(members, Vec::new()))
}

/// A reaction to the event at `source` whose only event has the next position.
fn react(hub: &ReactionHub, source: u64) {
    reacted(hub, source, None);
}

/// The same, for an operator.
fn reacted(hub: &ReactionHub, source: u64, operator: Option<u64>) {
    hub.reacted(&DurableReaction {
        member: 0,
        operator,
        ignored: 0,
        skipped: 0,
        source,
        receipt: Receipt {
            first_position: source + 1,
            event_count: 1,
            ends: Arc::default(),
        },
        aggregate_types: &["counter".into()],
        dispatched: 1,
        dead_lettered: 0,
        setbacks: &[],
        tally: &[],
    });
}

fn is_done(wait: &mut WaitGuard) -> bool {
    wait.done.try_recv().is_ok()
}

/// The journal notes a reaction before it announces its events: a run that begins in between knows the position before
/// them, but has to wait for what they cause.
#[test]
fn a_run_waits_for_what_is_durable_and_not_yet_announced() {
    let hub = hub(&["first", "second"]);
    hub.processed(1, 1);
    react(&hub, 1);
    let mut wait = hub.wait();
    assert_eq!(wait.begin_until(1), 2);
    hub.processed(0, 1);
    assert!(!is_done(&mut wait));
    hub.processed(0, 2);
    hub.processed(1, 2);
    assert!(is_done(&mut wait));
}

/// What a long run covers and is owed is asked at every reaction, so it must not grow with their number.
#[test]
fn a_wait_stays_small_however_many_reactions_it_covers() {
    let hub = hub(&["first", "second"]);
    let mut wait = hub.wait();
    wait.begin_until(1);
    for source in 1..1000 {
        react(&hub, source);
        let state = hub.state();
        let wait = state.waits.values().next();
        let sizes = wait.map(|wait| (wait.covered.len(), wait.owed.len()));
        assert_eq!(sizes, Some((1, 2)));
    }
    hub.processed(0, 1000);
    assert!(!is_done(&mut wait));
    hub.processed(1, 1000);
    assert!(is_done(&mut wait));
}

/// An operator waits for what was committed for him, and for what that caused, but not for what others cause meanwhile.
#[test]
fn the_wait_of_an_operator_covers_what_is_done_for_him() {
    let hub = hub(&["first", "second"]);
    let (mut operator, mut idle) = (hub.wait(), hub.wait());
    reacted(&hub, 1, Some(operator.id()));
    reacted(&hub, 5, None);
    for wait in [&operator, &idle] {
        wait.begin();
    }
    assert_eq!(idle.done.try_recv(), Ok(Reactions::NotAwaited));
    hub.processed(0, 2);
    assert!(!is_done(&mut operator));
    // What the first one did about it.
    react(&hub, 2);
    hub.processed(1, 2);
    assert!(!is_done(&mut operator));
    for member in [0, 1] {
        hub.processed(member, 3);
    }
    assert_eq!(operator.done.try_recv(), Ok(Reactions::Done));
    drop((operator, idle));
    assert!(hub.state().waits.is_empty());
}

/// A member that operators have let go on has to say when it has done what there was to do.
#[test]
fn an_operator_waits_until_a_member_has_gone_on_or_stays_again() {
    let hub = hub(&["first", "second"]);
    let going_on = |member| {
        let wait = hub.wait();
        hub.goes_on(wait.id(), member);
        wait.begin();
        wait
    };
    let (mut first, mut again, mut other) = (going_on(0), going_on(0), going_on(1));
    react(&hub, 1);
    for member in [0, 1] {
        hub.processed(member, 1);
    }
    hub.has_gone_on(0);
    // What it did meanwhile was for both, and has to be reacted to.
    for wait in [&mut first, &mut again, &mut other] {
        assert!(!is_done(wait));
    }
    for member in [0, 1] {
        hub.processed(member, 2);
    }
    for wait in [&mut first, &mut again] {
        assert_eq!(wait.done.try_recv(), Ok(Reactions::Done));
    }
    assert!(!is_done(&mut other));
    hub.paused(1, true);
    assert_eq!(other.done.try_recv(), Ok(Reactions::Paused));
    let mut late = going_on(1);
    assert_eq!(late.done.try_recv(), Ok(Reactions::Paused));
    hub.stays(
        0,
        Stay {
            position: 3,
            reason: String::new(),
            outcome: Reactions::Parked,
        },
    );
    let mut parked = going_on(0);
    assert_eq!(parked.done.try_recv(), Ok(Reactions::Parked));
}

#[test]
fn a_wait_ends_when_a_member_does() {
    let hub = hub(&["first", "second"]);
    let mut waits = [hub.wait(), hub.wait()];
    let [first, second] = &mut waits;
    first.begin_until(1);
    hub.processed(0, 1);
    assert!(!is_done(first));
    hub.ended(1, StoreError::Closed);
    assert_eq!(first.done.try_recv(), Ok(Reactions::Closed));
    // Nor does a later one begin to wait for it.
    second.begin_until(1);
    assert_eq!(second.done.try_recv(), Ok(Reactions::Closed));
    assert!(matches!(hub.ended_because(), Some(StoreError::Closed)));
}
