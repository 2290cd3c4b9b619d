use super::*;

fn hub(names: &[&'static str]) -> Arc<ReactionHub> {
    let member = |name: &&'static str| Member {
        name,
        subscriptions: &["counter"],
        is_awaited: true,
        processed: 0,
        stays: None,
        is_paused: false,
        ignored: 0,
        skipped: 0,
        presence: Presence::Here,
    };
    let members = names.iter().map(member).collect();
    Arc::new(ReactionHub::new(members, Vec::new()))
}

/// A reaction to the event at `source` that causes one event, at the next position.
fn react(hub: &ReactionHub, source: u64) {
    reacted(hub, source, None);
}

/// The same reaction, for an operator.
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

/// The hub learns of a reaction before the journal announces its events. A run that begins in between knows an older position, but has to
/// wait for the effects of those events.
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

/// Each reaction looks up the covered positions and the debts of a wait. So both must not grow with the number of reactions.
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

/// An operator's wait covers the commits for that operator and their effects. It does not cover the events of others meanwhile.
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
    // The reaction of the first member.
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

/// A member that continues for operators has to report when it has no work left.
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
    // The work in between was for both operators, so its event has to be handled, too.
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
    // A later wait does not wait for it, either.
    second.begin_until(1);
    assert_eq!(second.done.try_recv(), Ok(Reactions::Closed));
    assert!(matches!(hub.ended_because(), Some(StoreError::Closed)));
}
