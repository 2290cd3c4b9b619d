//! The rules of signals. A signal may be lost, so each is sent until it arrives.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::{Rule, Suite, short};
use crate::replication::CommitLog;

pub(super) fn rules<L: CommitLog>() -> Vec<Rule<L>> {
    vec![
        (
            "A signal reaches every node, its sender included, as it was sent.",
            reaches_all,
        ),
        ("A signal reaches no other log.", stays_in_its_log),
        (
            "A signal before `close` is sent, although no other call follows.",
            is_sent_at_the_end,
        ),
    ]
}

/// The messages that have arrived. `None` if the log has ended.
fn arrived(signals: &mut Receiver<String>) -> Option<Vec<String>> {
    let mut messages = Vec::new();
    loop {
        match signals.try_recv() {
            Ok(message) => messages.push(message),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty) => return Some(messages),
            Err(TryRecvError::Closed) => return None,
        }
    }
}

fn reaches_all<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let nodes = suite.nodes("signals")?;
    let mut receivers: Vec<_> = nodes.iter().map(CommitLog::signals).collect();
    for (sender, log) in nodes.iter().enumerate() {
        let message = format!(
            "{{\"node\":\"{sender}\",\"it's\":\"東京 \\\\ %s\",\"padding\":\"{:500}\"}}",
            ""
        );
        let mut wrong = None;
        let mut missing: Vec<usize> = (0..receivers.len()).collect();
        let mut look = || {
            log.signal(message.clone());
            for (node, receiver) in receivers.iter_mut().enumerate() {
                let Some(messages) = arrived(receiver) else {
                    wrong = Some(format!("The signals of node {node} have ended."));
                    return true;
                };
                // Those of other senders may be late.
                let is_of_sender =
                    |seen: &&String| seen.starts_with(message.get(..12).unwrap_or_default());
                for seen in messages.iter().filter(is_of_sender) {
                    missing.retain(|missing| *missing != node);
                    if *seen != message {
                        wrong = Some(format!(
                            "{} was sent, and {} arrived.",
                            short(&message),
                            short(seen)
                        ));
                    }
                }
            }
            missing.is_empty() || wrong.is_some()
        };
        let has_reached = suite.wait_for(|| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            look()
        });
        match wrong {
            Some(wrong) => return Err(wrong),
            None if has_reached => {}
            None => {
                return Err(format!(
                    "Node {sender} sent signals, which never arrived at the nodes {missing:?}."
                ));
            }
        }
    }
    Ok(())
}

fn stays_in_its_log<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let long = "s".repeat(60);
    let names = [
        "signals-1",
        "signals-10",
        &format!("{long}1"),
        &format!("{long}2"),
    ];
    let mut nodes = Vec::new();
    for name in names {
        let log = suite.open(name)?;
        let signals = log.signals();
        nodes.push((name, log, signals));
    }
    // Twice: a signal of the first turn has arrived everywhere when those of the second turn have.
    for turn in 0..2 {
        let mut missing: Vec<&str> = names.to_vec();
        let mut wrong = None;
        let has_reached = suite.wait_for(|| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            for (name, log, signals) in &mut nodes {
                log.signal(format!("{name} in turn {turn}"));
                for message in arrived(signals).unwrap_or_default() {
                    match message.strip_suffix(&format!(" in turn {turn}")) {
                        Some(sender) if sender == *name => {
                            missing.retain(|missing| missing != name)
                        }
                        None if message.strip_suffix(" in turn 0") == Some(name) => {}
                        _ => {
                            wrong = Some(format!(
                                "The signal {message:?} arrived at the log `{name}`."
                            ))
                        }
                    }
                }
            }
            missing.is_empty() || wrong.is_some()
        });
        match wrong {
            Some(wrong) => return Err(wrong),
            None if has_reached => {}
            None => {
                return Err(format!(
                    "The signals of the logs {missing:?} never arrived."
                ));
            }
        }
    }
    Ok(())
}

fn is_sent_at_the_end<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let other = suite.open("closed")?;
    let mut heard = other.signals();
    let mut ends = 0;
    let mut closes = || -> Result<bool, String> {
        ends += 1;
        let (ready, last) = (format!("ready {ends}"), format!("last {ends}"));
        let log = suite.open("closed")?;
        let mut own = log.signals();
        // It is connected when it hears itself.
        let is_ready = suite.wait_for(|| {
            log.signal(ready.clone());
            arrived(&mut own).unwrap_or_default().contains(&ready)
        });
        log.signal(last.clone());
        log.close();
        drop(log);
        let is_heard = || arrived(&mut heard).unwrap_or_default().contains(&last);
        Ok(is_ready && suite.wait_for(is_heard))
    };
    for _ in 0..3 {
        if closes()? {
            return Ok(());
        }
    }
    Err(
        "A node sent a signal and called `close`, three times. Another node heard none of them."
            .to_owned(),
    )
}
