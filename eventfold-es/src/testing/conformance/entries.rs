//! The rules of entries, with one call at a time.

use std::thread;

use super::{NODES, Rule, Suite, append, append_fenced, has, join, read, read_all, said, short};
use crate::replication::{AppendError, CommitLog};

pub(super) fn rules<L: CommitLog>() -> Vec<Rule<L>> {
    vec![
        ("A new log is empty.", is_empty),
        (
            "Several nodes may open a new log at the same time.",
            is_created_once,
        ),
        (
            "The entries have the numbers 1, 2, 3 and so on, without a gap.",
            is_contiguous,
        ),
        (
            "An acknowledged entry is read at once on every node.",
            is_read_at_once,
        ),
        (
            "A text is read as it was appended, byte for byte.",
            keeps_texts,
        ),
        (
            "An entry may have `max_entry_bytes` bytes.",
            takes_the_largest,
        ),
        (
            "An entry with more than `max_entry_bytes` bytes is `Refused`, and not stored.",
            refuses_larger,
        ),
        (
            "An append that does not follow the last entry is `Fenced`, and not stored.",
            is_fenced,
        ),
        (
            "`read` returns the entries from a number on, about `max_bytes` at most and at least one.",
            is_paged,
        ),
        ("`read` behind the last entry returns no entries.", ends),
        (
            "A new handle reads all entries, and appends behind them.",
            is_there_again,
        ),
        (
            "Logs with different names have nothing in common.",
            is_apart,
        ),
    ]
}

fn is_empty<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    for log in suite.nodes("empty")? {
        has::<&str>(&log, &[])?;
        let last = *log.follow().borrow();
        if last != 0 {
            return Err(format!("`follow` has the last entry {last}."));
        }
        if log.max_entry_bytes() == 0 {
            return Err("`max_entry_bytes` is 0.".to_owned());
        }
    }
    Ok(())
}

fn is_created_once<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    for round in 0..3 {
        let name = format!("opened-{round}");
        let nodes: Vec<_> = (0..NODES).map(|_| suite.node(&name)).collect();
        thread::scope(|scope| {
            let opens = nodes.iter().map(|log| scope.spawn(|| log.open()));
            let opens: Vec<_> = opens.collect();
            opens
                .into_iter()
                .try_for_each(|open| said("open", join(open)))
        })?;
        let texts: Vec<String> = (0..NODES).map(|node| format!("node {node}\n")).collect();
        for ((after, text), log) in (0..).zip(&texts).zip(&nodes) {
            append(log, after, text)?;
        }
        for log in &nodes {
            has(log, &texts)?;
        }
    }
    Ok(())
}

fn is_contiguous<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let log = suite.open("contiguous")?;
    let texts: Vec<String> = (1..=20).map(|number| format!("entry {number}\n")).collect();
    for (after, text) in (0..).zip(&texts) {
        append(&log, after, text)?;
    }
    has(&log, &texts)
}

fn is_read_at_once<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let nodes = suite.nodes("at-once")?;
    for (after, appends) in (0..20).zip(nodes.iter().cycle()) {
        let text = format!("entry {}\n", after + 1);
        append(appends, after, &text)?;
        for log in &nodes {
            let entries = read_all(log, after + 1)?;
            if !entries.iter().map(|entry| &*entry.text).eq([&*text]) {
                let number = after + 1;
                return Err(format!(
                    "Entry {number} was acknowledged, and another node read {entries:?} then."
                ));
            }
        }
    }
    Ok(())
}

fn keeps_texts<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let control: String = ('\u{1}'..='\u{1f}').chain('\u{7f}'..='\u{9f}').collect();
    let texts = [
        "\n",
        "two\nlines\n",
        "\n\n  blank lines, and blanks at the end \t \n\n",
        "carriage returns\r\n\r\n",
        "{\"json\":\"\\u0000 \\\\ \\\" \\n\"}\n",
        "'quotes' \"\" `` $1 $$ %s %% {} ; -- /* \\\n",
        "Zürich 東京 🦀 e\u{301} \u{feff} \u{202e} \u{2028} \u{10ffff}\n",
        &format!("{control}\n"),
    ];
    let log = suite.open("texts")?;
    let other = suite.open("texts")?;
    for (after, text) in (0..).zip(&texts) {
        append(&log, after, text)?;
    }
    has(&log, &texts)?;
    has(&other, &texts)
}

/// A line with this number of bytes, which an encoding does not make much smaller.
fn line(bytes: usize) -> String {
    let mut numbers = 0_u64;
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        numbers = numbers
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{numbers:016x}"));
    }
    text.truncate(bytes.saturating_sub(1));
    text.push('\n');
    text
}

fn takes_the_largest<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let log = suite.open("largest")?;
    let texts = [line(log.max_entry_bytes()), "behind it\n".to_owned()];
    for (after, text) in (0..).zip(&texts) {
        append(&log, after, text)?;
    }
    has(&log, &texts)?;
    has(&suite.open("largest")?, &texts)
}

fn refuses_larger<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let log = suite.open("larger")?;
    let limit = log.max_entry_bytes();
    for (after, larger) in (0..).zip([limit + 1, limit + 1000, limit * 2]) {
        match log.append(after, line(larger).into()) {
            Err(AppendError::Refused(_)) => {}
            other => {
                let seen = format!(
                    "An entry with {larger} bytes was answered {other:?}, and `max_entry_bytes` is {limit}."
                );
                return Err(seen);
            }
        }
        append(&log, after, "a small entry\n")?;
    }
    has(&log, &["a small entry\n"; 3])
}

fn is_fenced<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let nodes = suite.nodes("fenced")?;
    let mut texts: Vec<String> = Vec::new();
    for (last, log) in (0..8).zip(nodes.iter().cycle()) {
        let wrong = [
            0,
            1,
            last - 1,
            last + 1,
            last + 2,
            last + 1000,
            i64::MAX,
            -1,
        ];
        for after in wrong.into_iter().filter(|after| *after != last) {
            // Also the text of the last entry: an append that is repeated is another append.
            for text in [
                "not in the log\n",
                texts.last().map_or("first\n", String::as_str),
            ] {
                append_fenced(log, after as u64, text, last as u64)?;
            }
        }
        for log in &nodes {
            has(log, &texts)?;
        }
        let text = format!("entry {}\n", last + 1);
        append(log, last as u64, &text)?;
        texts.push(text);
    }
    nodes.iter().try_for_each(|log| has(log, &texts))
}

fn is_paged<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    /// Small entries, and then larger ones: a page of the former says nothing about the latter.
    const SIZES: [usize; 2] = [100, 2_000];
    let log = suite.open("paged")?;
    let other = suite.open("paged")?;
    let sizes = SIZES.into_iter().flat_map(|size| [size; 30]);
    let texts: Vec<String> = (1..)
        .zip(sizes)
        .map(|(number, size)| format!("{number:<width$}\n", width = size - 1))
        .collect();
    for (after, text) in (0..).zip(&texts) {
        append(&log, after, text)?;
    }
    for max_bytes in [0, 1, 100, 2_000, 10_000, 25_000, 1_000_000] {
        for (from, first) in (1..).zip(&texts) {
            let page = read(&other, from, max_bytes)?;
            let call = format!("read({from}, {max_bytes})");
            let Some((last, before)) = page.split_last() else {
                let count = texts.len();
                return Err(format!(
                    "`{call}` returned nothing, and the log has {count} entries."
                ));
            };
            let begins = before.first().unwrap_or(last);
            if *begins.text != **first {
                return Err(format!(
                    "`{call}` begins with {}, not with entry {from}.",
                    short(&begins.text)
                ));
            }
            // About: a server may count the bytes in its own way.
            let bytes: usize = before.iter().map(|entry| entry.text.len()).sum();
            if bytes > max_bytes * 2 {
                return Err(format!(
                    "`{call}` returned {} entries, the last one after {bytes} bytes.",
                    page.len()
                ));
            }
        }
    }
    Ok(())
}

fn ends<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let log = suite.open("end")?;
    for last in 0..3 {
        for from in [last + 1, last + 2, last + 1000, i64::MAX as u64, u64::MAX] {
            let entries = said("read", log.read(from, 1_000))?;
            if !entries.is_empty() {
                return Err(format!(
                    "`read({from}, 1000)` returned {entries:?}, and {last} was the last entry."
                ));
            }
        }
        append(&log, last, "entry\n")?;
    }
    Ok(())
}

fn is_there_again<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    let texts: Vec<String> = (1..=6).map(|number| format!("entry {number}\n")).collect();
    for (after, text) in (0..).zip(&texts) {
        // The handle before it is dropped.
        let log = suite.open("again")?;
        has(&log, texts.get(..after as usize).unwrap_or_default())?;
        append(&log, after, text)?;
    }
    has(&suite.open("again")?, &texts)
}

fn is_apart<L: CommitLog>(suite: &Suite<'_, L>) -> Result<(), String> {
    // One name begins with the other, and names that are cut somewhere are equal.
    let long = "a".repeat(60);
    let names = ["apart", "apart-2", &format!("{long}1"), &format!("{long}2")];
    let logs = names.map(|name| suite.open(name));
    let mut nodes = Vec::new();
    for (name, log) in names.iter().zip(logs) {
        nodes.push((suite.name(name), log?));
    }
    for after in 0..3 {
        for (name, log) in &nodes {
            append(log, after, &format!("{name} {after}\n"))?;
        }
    }
    for (name, log) in &nodes {
        let texts: Vec<String> = (0..3).map(|after| format!("{name} {after}\n")).collect();
        has(log, &texts)?;
    }
    Ok(())
}
