//! The rules of entries, with many calls at a time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::patient::Patient;
use super::{NODES, PAGE, Rule, Suite, append, has, join, read, read_all, short};
use crate::replication::{AppendError, CommitLog};

/// The numbers for which all nodes append at once.
const ROUNDS: u64 = 40;
/// The entries of each node in a race without rounds.
const ENTRIES: usize = 30;
/// The entries that are appended while others read.
const READ_ENTRIES: u64 = 150;

pub(super) fn rules<L: CommitLog>() -> Vec<Rule<L>> {
    vec![
        (
            "Of appends after one entry at the same time, exactly one succeeds.",
            has_one_winner,
        ),
        (
            "In a race of nodes, each acknowledged entry is in the log once, under its number.",
            keeps_what_it_acknowledges,
        ),
        (
            "Reads while others append return all entries that are acknowledged, without a gap.",
            is_read_without_gaps,
        ),
        (
            "`follow` soon reaches the last entry on every node, and never passes it.",
            is_followed,
        ),
    ]
}

fn has_one_winner<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let nodes = suite.nodes("winner")?;
    let mut texts = Vec::new();
    for last in 0..ROUNDS {
        let together = Barrier::new(nodes.len());
        let text = |node: usize| format!("entry {} node {node}\n", last + 1);
        let answers: Vec<_> = thread::scope(|scope| {
            let appends = nodes.iter().enumerate().map(|(node, log)| {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    log.append(last, text(node).into())
                })
            });
            let appends: Vec<_> = appends.collect();
            appends.into_iter().map(join).collect()
        });
        let winners = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| answer.is_ok());
        let winners: Vec<_> = winners.map(|(node, _)| node).collect();
        let is_fenced =
            |answer: &Result<(), AppendError>| matches!(answer, Ok(()) | Err(AppendError::Fenced));
        match winners.as_slice() {
            [winner] if answers.iter().all(is_fenced) => texts.push(text(*winner)),
            _ => {
                return Err(format!(
                    "{NODES} nodes called `append({last}, ..)`, and were answered {answers:?}."
                ));
            }
        }
    }
    nodes.iter().try_for_each(|log| has(log, &texts))
}

fn keeps_what_it_acknowledges<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let nodes = suite.nodes("race")?;
    let acknowledged = Mutex::new(Vec::new());
    let unknown = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        let races = nodes.iter().enumerate().map(|(node, log)| {
            let (acknowledged, unknown, patience) = (&acknowledged, &unknown, suite.patience * 2);
            scope.spawn(move || {
                let begun = Instant::now();
                let (mut last, mut entries, mut tries) = (0, 0, 0);
                while entries < ENTRIES {
                    tries += 1;
                    let text = format!("node {node} try {tries}\n");
                    let answer = log.append(last, text.as_str().into());
                    if begun.elapsed() > patience {
                        return Err(format!("{entries} of {tries} appends in a race succeeded. The last was answered {answer:?}."));
                    }
                    match answer {
                        Ok(()) => {
                            last += 1;
                            entries += 1;
                            let mut acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                            acknowledged.push((last, text));
                        }
                        Err(AppendError::Unknown(_)) => {
                            unknown.lock().unwrap_or_else(PoisonError::into_inner).insert(text);
                        }
                        Err(AppendError::Fenced | AppendError::Unavailable(_)) => {}
                        Err(AppendError::Refused(reason)) => return Err(format!("{text:?} is refused: {reason}.")),
                    }
                    last += read_all(log, last + 1)?.len() as u64;
                }
                Ok(())
            })
        });
        let races: Vec<_> = races.collect();
        races.into_iter().try_for_each(join)
    })?;
    let acknowledged = acknowledged
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let unknown = unknown.into_inner().unwrap_or_else(PoisonError::into_inner);
    for log in &nodes {
        let entries = read_all(log, 1)?;
        let mut texts = HashSet::new();
        for entry in &entries {
            if !texts.insert(&*entry.text) {
                return Err(format!(
                    "{} was appended once, and is in the log twice.",
                    short(&entry.text)
                ));
            }
        }
        for (number, text) in &acknowledged {
            let index = usize::try_from(*number - 1).unwrap_or(usize::MAX);
            let entry = entries.get(index).map(|entry| &*entry.text);
            if entry != Some(text) {
                return Err(format!(
                    "{text:?} was acknowledged as entry {number}, which is {entry:?}."
                ));
            }
            texts.remove(&**text);
        }
        if let Some(text) = texts.into_iter().find(|text| !unknown.contains(*text)) {
            return Err(format!(
                "{} was not acknowledged, and is in the log.",
                short(text)
            ));
        }
    }
    Ok(())
}

fn is_read_without_gaps<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let nodes = suite.nodes("gaps")?;
    let acknowledged = AtomicU64::new(0);
    let has_ended = AtomicBool::new(false);
    let together = Barrier::new(nodes.len() + 1);
    let text = |number: u64| format!("entry {number}\n");
    let reads_all = |log: &Patient<L>| {
        together.wait();
        let mut next = 1;
        while next <= READ_ENTRIES {
            let known = acknowledged.load(Ordering::SeqCst);
            let is_last_look = has_ended.load(Ordering::SeqCst);
            let page = read(log, next, PAGE)?;
            for entry in &page {
                if *entry.text != *text(entry.number) {
                    return Err(format!(
                        "Entry {} is read as {}.",
                        entry.number,
                        short(&entry.text)
                    ));
                }
            }
            if page.is_empty() && next <= known {
                return Err(format!(
                    "`read({next}, {PAGE})` returned no entry, and entry {known} was acknowledged before."
                ));
            }
            next += page.len() as u64;
            if is_last_look && page.is_empty() {
                // The appends have failed, and say why.
                break;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        // The node that appends reads, too.
        let reads: Vec<_> = nodes
            .iter()
            .map(|log| scope.spawn(|| reads_all(log)))
            .collect();
        together.wait();
        let mut appends = nodes.iter().take(1).cycle().zip(0..READ_ENTRIES);
        let appended = appends.try_for_each(|(log, after)| {
            append(log, after, &text(after + 1))?;
            acknowledged.store(after + 1, Ordering::SeqCst);
            Ok(())
        });
        has_ended.store(true, Ordering::SeqCst);
        let read = reads.into_iter().map(join).fold(Ok(()), Result::and);
        appended.and(read)
    })
}

fn is_followed<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let nodes = suite.nodes("followed")?;
    let mut follows: Vec<_> = nodes.iter().map(CommitLog::follow).collect();
    for (after, appends) in (0..20).zip(nodes.iter().cycle()) {
        let last = after + 1;
        append(appends, after, &format!("entry {last}\n"))?;
        for follow in &mut follows {
            let mut seen = *follow.borrow_and_update();
            // A receiver that waits is woken.
            let is_reached = suite.wait_for(|| {
                if let Ok(true) = follow.has_changed() {
                    seen = *follow.borrow_and_update();
                }
                seen >= last
            });
            if !is_reached || seen > last {
                return Err(format!(
                    "`follow` has {seen}, and {last} is the last entry."
                ));
            }
        }
    }
    // And a handle that is new.
    let follow = suite.open("followed")?;
    let follow = follow.follow();
    match suite.wait_for(|| *follow.borrow() == 20) {
        true => Ok(()),
        false => Err(format!(
            "`follow` of a new handle has {}, and 20 is the last entry.",
            *follow.borrow()
        )),
    }
}
