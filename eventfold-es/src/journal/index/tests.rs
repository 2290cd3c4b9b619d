use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::footer::{Coverage, HEAD_BYTES, encode_head};
use super::*;
use crate::disk::{Files, SystemDisk};
use crate::journal::block_cache::BlockCache;
use crate::journal::{Damage, JournalError, StreamId};
use crate::threads::StoreRuntime;

type TestResult = Result<(), Box<dyn std::error::Error>>;
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn files() -> Files {
    Files::new(Arc::new(SystemDisk))
}

fn cache() -> Arc<BlockCache> {
    BlockCache::new(1 << 20)
}

fn coverage(number: u64) -> Coverage {
    Coverage {
        from: number * 100,
        to: number * 100 + 100,
        hash: number,
    }
}

fn stream(number: u64) -> StreamId {
    StreamId::new(
        ["account", "order"][(number % 2) as usize],
        &format!("id-{number}"),
    )
}

/// Entries of the `round`th checkpoint: some streams continue, others are new.
fn entries(round: u64, count: u64) -> Model {
    let entry = |number: u64| {
        let stream = stream(number * 7919 % (round * count / 2 + count));
        let key = match number % 5 {
            0 => EntryKey::snapshot(&stream),
            _ => EntryKey::append(&stream, round + 1),
        };
        let address = Address {
            offset: round * 1_000_000 + number * 300,
            length: 300,
            count: 1,
        };
        (key.as_bytes().to_vec(), address.encode())
    };
    (0..count).map(entry).collect()
}

/// Opens runs, none of which is lost.
fn open(
    files: &Files,
    directory: &Path,
    cache: &Arc<BlockCache>,
    notes: &[RunNote],
) -> Result<Runs, JournalError> {
    let (runs, lost) = Runs::open(files, directory, cache, notes)?;
    match lost.first() {
        None => Ok(runs),
        Some(lost) => Err(Damage::new(directory, lost.number, "it is lost").into()),
    }
}

fn add(runs: &Runs, model: &Model, round: u64) -> Result<(), JournalError> {
    runs.add(
        model.iter().map(|(key, value)| (&key[..], &value[..])),
        coverage(round),
    )
}

type Owned = (Vec<u8>, Vec<u8>);

fn all(mut merged: Merged) -> Result<Vec<Owned>, JournalError> {
    let mut all = Vec::new();
    while let Some((key, value)) = merged.next()? {
        all.push((key.to_vec(), value.to_vec()));
    }
    Ok(all)
}

fn merge_all(runs: &Runs) -> Result<usize, JournalError> {
    let mut count = 0;
    while let Some(merge) = runs.begin_merge()? {
        let mut left = Some(merge);
        while let Some(merge) = left {
            left = runs.go_on(merge, 4_096)?;
        }
        count += 1;
    }
    Ok(count)
}

fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect::<std::io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// All entries are found: all of them in order, those of each stream alone, and none of a missing stream.
fn check(runs: &Runs, model: &Model, newest: &Model) -> TestResult {
    let memory = || {
        let entries = newest.clone().into_iter().collect();
        vec![Entries::in_memory(entries)]
    };
    let mut expected = model.clone();
    expected.extend(newest.clone());
    let found = all(runs.from(&[], memory())?)?;
    assert!(
        found.iter().eq(expected
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Vec<_>>()
            .iter())
    );
    let from = EntryKey::first_append(Some("order"));
    let found = all(runs.from(from.as_bytes(), Vec::new())?)?;
    let behind = model.range(from.as_bytes().to_vec()..);
    assert_eq!(found.len(), behind.count());
    for (key, _) in model.iter().step_by(97) {
        let Some((stream, version)) = EntryKey::read_append(key) else {
            let mut found = runs.alike(&StoreRuntime::new(), key, Vec::new())?;
            assert_eq!(found.next()?, Some((&key[..], &model[key][..])));
            continue;
        };
        let first = EntryKey::append(&stream, 0);
        let mut found = runs.alike(&StoreRuntime::new(), first.as_bytes(), Vec::new())?;
        let mut versions = Vec::new();
        while let Some((key, value)) = found.next()? {
            let Some((other, version)) =
                EntryKey::read_append(key).filter(|(other, _)| *other == stream)
            else {
                break;
            };
            assert_eq!(
                Some(value),
                model.get(key).map(|value| &value[..]),
                "{other:?}"
            );
            versions.push(version);
        }
        assert!(versions.contains(&version) && versions.is_sorted());
    }
    let absent = StreamId::new("order", "nobody");
    let mut found = runs.alike(
        &StoreRuntime::new(),
        EntryKey::append(&absent, 0).as_bytes(),
        Vec::new(),
    )?;
    let next = found
        .next()?
        .and_then(|(key, _)| EntryKey::read_append(key));
    assert!(next.is_none_or(|(stream, _)| stream != absent));
    Ok(())
}

#[test]
fn whatever_is_merged_is_found_also_when_it_is_opened_again() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (files, cache) = (files(), cache());
    let mut runs = open(&files, directory.path(), &cache, &[])?;
    let mut model = Model::new();
    let mut merges = 0;
    for round in 0..20 {
        let newest = entries(round, 1_500);
        check(&runs, &model, &newest)?;
        add(&runs, &newest, round)?;
        model.extend(newest);
        merges += merge_all(&runs)?;
        let notes = runs.notes();
        if round % 7 == 3 {
            // The merged runs were not swept. Opening removes them.
            runs = open(&files, directory.path(), &cache, &notes)?;
        } else {
            runs.sweep(&notes);
        }
        assert_eq!(names(directory.path())?.len(), notes.len());
        assert_eq!(runs.notes(), notes);
    }
    assert_eq!(merges, 2);
    check(&runs, &model, &Model::new())?;
    let levels: Vec<_> = runs.notes().iter().map(|note| note.level).collect();
    assert_eq!(levels, [1, 1, 0, 0, 0, 0]);
    let covered: Vec<_> = runs
        .notes()
        .iter()
        .map(|note| (note.coverage.from, note.coverage.to))
        .collect();
    assert_eq!(
        covered,
        [
            (0, 800),
            (800, 1600),
            (1600, 1700),
            (1700, 1800),
            (1800, 1900),
            (1900, 2000)
        ]
    );
    Ok(())
}

/// Also with more than two levels of blocks.
#[test]
fn a_large_run_is_a_tree() -> TestResult {
    let directory = tempfile::tempdir()?;
    let runs = open(&files(), directory.path(), &cache(), &[])?;
    let model = entries(0, 100_000);
    add(&runs, &model, 0)?;
    check(&runs, &model, &Model::new())?;
    let bytes = runs.notes().iter().map(|note| note.bytes).sum::<u64>();
    assert!(
        bytes / runs.entries() < 26,
        "{bytes} bytes for {} entries",
        runs.entries()
    );
    Ok(())
}

#[test]
fn the_newest_of_equal_keys_counts() -> TestResult {
    let directory = tempfile::tempdir()?;
    let runs = open(&files(), directory.path(), &cache(), &[])?;
    for round in 0..9_u8 {
        let model = [b"same".to_vec(), vec![b'a' + round]].map(|key| (key, vec![round]));
        add(&runs, &model.into(), round.into())?;
    }
    let newest = |runs: &Runs| {
        Ok::<_, JournalError>(
            runs.from(b"same", Vec::new())?
                .next()?
                .map(|(_, value)| value.to_vec()),
        )
    };
    // Ordered by key.
    assert_eq!(newest(&runs)?, Some(vec![8]));
    assert_eq!(merge_all(&runs)?, 1);
    assert_eq!(newest(&runs)?, Some(vec![8]));
    let found = all(runs.from(
        &[],
        vec![Entries::in_memory(vec![(b"same".to_vec(), vec![9])])],
    )?)?;
    assert_eq!(found.len(), 10);
    assert_eq!(found.last(), Some(&(b"same".to_vec(), vec![9])));
    Ok(())
}

/// A changed byte gives the right result or damage, never a wrong result.
#[test]
fn a_changed_byte_is_damage() -> TestResult {
    let directory = tempfile::tempdir()?;
    let files = files();
    let runs = open(&files, directory.path(), &cache(), &[])?;
    let model = entries(0, 60);
    add(&runs, &model, 0)?;
    let notes = runs.notes();
    let path = directory.path().join("000001.run");
    let whole = std::fs::read(&path)?;
    let mut noticed = 0;
    for index in 0..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 0x04;
        std::fs::write(&path, changed)?;
        let read = || {
            let runs = open(&files, directory.path(), &cache(), &notes)?;
            let found = all(runs.from(&[], Vec::new())?)?;
            for key in model.keys().step_by(20) {
                let mut alike = runs.alike(&StoreRuntime::new(), key, Vec::new())?;
                assert_eq!(alike.next()?, Some((&key[..], &model[key][..])));
            }
            Ok::<_, JournalError>(found)
        };
        match read() {
            Ok(found) => assert!(found.iter().map(|(key, value)| (key, value)).eq(&model)),
            Err(_) => noticed += 1,
        }
        for length in [index, whole.len() - 1] {
            std::fs::write(&path, &whole[..length])?;
            assert!(open(&files, directory.path(), &cache(), &notes).is_err());
        }
    }
    // The exceptions are bytes of the filter that none of these keys uses.
    assert!(noticed + 100 > whole.len(), "{noticed} of {}", whole.len());
    Ok(())
}

#[test]
fn what_is_missing_or_another_one_is_lost_and_what_is_newer_refused() -> TestResult {
    let directory = tempfile::tempdir()?;
    let files = files();
    let runs = open(&files, directory.path(), &cache(), &[])?;
    for round in 0..2 {
        add(&runs, &entries(round, 100), round)?;
    }
    let notes = runs.notes();
    let lost = || Runs::open(&files, directory.path(), &cache(), &notes).map(|(_, lost)| lost);
    assert_eq!(lost()?, []);
    let (first, second) = (
        directory.path().join("000001.run"),
        directory.path().join("000002.run"),
    );
    let mut newer = std::fs::read(&first)?;
    std::fs::copy(&second, &first)?;
    assert_eq!(lost()?, notes[..1]);
    assert!(!first.exists());
    assert_eq!(lost()?, notes[..1]);
    newer.splice(..HEAD_BYTES as usize, encode_head(2));
    std::fs::write(&first, newer)?;
    let refused = lost().map_or_else(|error| error.to_string(), |lost| format!("{lost:?}"));
    assert!(refused.contains("format 2"), "{refused}");
    Ok(())
}

#[test]
fn a_lost_run_is_written_again_in_its_place() -> TestResult {
    for number in 0..3 {
        let directory = tempfile::tempdir()?;
        let files = files();
        let runs = open(&files, directory.path(), &cache(), &[])?;
        let mut model = Model::new();
        for round in 0..3 {
            add(&runs, &entries(round, 200), round)?;
            model.extend(entries(round, 200));
        }
        let notes = runs.notes();
        std::fs::remove_file(directory.path().join(format!("{:06}.run", number + 1)))?;
        let (runs, lost) = Runs::open(&files, directory.path(), &cache(), &notes)?;
        assert!(runs.is_news());
        let mut restore = runs.restore(lost[0]);
        let content: Vec<_> = entries(number, 200).into_iter().collect();
        for slice in content.chunks(90) {
            restore.add(slice.iter().map(|(key, value)| (&key[..], &value[..])))?;
        }
        restore.finish()?;
        check(&runs, &model, &Model::new())?;
        let restored = runs.notes();
        let coverages =
            |notes: &[RunNote]| notes.iter().map(|note| note.coverage).collect::<Vec<_>>();
        assert_eq!(coverages(&restored), coverages(&notes));
        assert_eq!(names(directory.path())?.len(), 3);
        check(
            &open(&files, directory.path(), &cache(), &restored)?,
            &model,
            &Model::new(),
        )?;
    }
    Ok(())
}

#[test]
fn a_merge_that_fails_leaves_no_file_and_is_not_begun_again() -> TestResult {
    let directory = tempfile::tempdir()?;
    let runs = open(&files(), directory.path(), &cache(), &[])?;
    for round in 0..8 {
        add(&runs, &entries(round, 500), round)?;
    }
    let damaged = directory.path().join("000005.run");
    let mut bytes = std::fs::read(&damaged)?;
    bytes[5_000] ^= 1;
    std::fs::write(&damaged, bytes)?;
    assert!(merge_all(&runs).is_err());
    assert_eq!(names(directory.path())?.len(), 8);
    assert!(runs.is_news() && runs.begin_merge()?.is_none());
    let is_damaged = runs.notes().into_iter().map(|note| note.is_damaged);
    assert_eq!(
        is_damaged.collect::<Vec<_>>().iter().position(|is| *is),
        Some(4)
    );
    Ok(())
}

#[test]
fn a_read_goes_on_while_what_it_reads_is_merged_and_swept() -> TestResult {
    let directory = tempfile::tempdir()?;
    let runs = open(&files(), directory.path(), &cache(), &[])?;
    let mut model = Model::new();
    for round in 0..8 {
        add(&runs, &entries(round, 500), round)?;
        model.extend(entries(round, 500));
    }
    let mut reading = runs.from(&[], Vec::new())?;
    reading.next()?;
    let before = runs.notes();
    merge_all(&runs)?;
    // The checkpoint still lists the merged runs.
    runs.sweep(&before);
    assert_eq!(names(directory.path())?.len(), 9);
    runs.sweep(&runs.notes());
    assert_eq!(names(directory.path())?.len(), 1);
    assert_eq!(all(reading)?.len(), model.len() - 1);
    check(&runs, &model, &Model::new())?;
    Ok(())
}
