use super::*;
use crate::disk::SystemDisk;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn files() -> Files {
    Files::new(Arc::new(SystemDisk))
}

fn cache() -> Arc<BlockCache> {
    BlockCache::new(1 << 20)
}

/// Lines whose positions are their numbers.
fn lines(first: u64, count: u64) -> Vec<String> {
    (first..first + count)
        .map(|line| {
            format!(
                "{{\"type\":\"Counted\",\"data\":{line},\"ts\":1,\"x\":\"{}\"}}\n",
                "x".repeat((line % 700) as usize)
            )
        })
        .collect()
}

fn write(segments: &Segments, lines: &[String], first: u64) -> Result<Span, JournalError> {
    let mut writer = segments.begin(end(segments), first)?;
    for (line, position) in lines.iter().zip(first..) {
        writer.begin_commit(position);
        writer.push(line.as_bytes())?;
    }
    let span = writer.finish()?;
    segments.add(span);
    Ok(span)
}

fn end(segments: &Segments) -> u64 {
    segments.spans().last().map_or(0, |span| span.end)
}

/// Three segments, and their whole text.
fn written(directory: &Path) -> Result<(Segments, String), JournalError> {
    let segments = Segments::open(&files(), directory, &cache(), 0)?;
    let mut text = String::new();
    for (first, count) in [(1, 3_000), (3_001, 1), (3_002, 2_000)] {
        let lines = lines(first, count);
        write(&segments, &lines, first)?;
        text.extend(lines);
    }
    assert_eq!(end(&segments), text.len() as u64);
    Ok((segments, text))
}

fn read_all(
    read: impl Fn(u64, u64) -> Result<Vec<u8>, JournalError>,
    step: u64,
) -> Result<Vec<u8>, JournalError> {
    let mut all = Vec::new();
    loop {
        let read = read(all.len() as u64, step)?;
        if read.is_empty() {
            return Ok(all);
        }
        all.extend(read);
    }
}

#[test]
fn the_text_is_read_back_from_any_place() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (segments, text) = written(directory.path())?;
    let reopened = Segments::open(&files(), directory.path(), &cache(), text.len() as u64)?;
    for segments in [segments, reopened] {
        for step in [1 << 20, 10_000, 4_096, 3_001] {
            assert!(read_all(|from, step| segments.read(from, step), step)? == text.as_bytes());
            assert!(
                read_all(|from, step| segments.read_through(from, step), step)? == text.as_bytes()
            );
        }
        for offset in (0..text.len()).step_by(9_973) {
            let read = segments.read(offset as u64, 300)?;
            assert!(!read.is_empty() && text.as_bytes()[offset..].starts_with(&read));
            assert_eq!(segments.read_through(offset as u64, 300)?, read);
        }
        assert!(segments.read(text.len() as u64, 1)?.is_empty());
    }
    Ok(())
}

#[test]
fn a_position_is_found_in_few_lines() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (segments, text) = written(directory.path())?;
    let mut start = 0;
    let starts = text.split_inclusive('\n').map(|line| {
        let at = start;
        start += line.len() as u64;
        at
    });
    for (position, at) in (1..).zip(starts).step_by(7) {
        let found = segments.find(position)?;
        assert!(
            found <= at && at - found < 70 << 10,
            "{position}: {found} {at}"
        );
        assert!(found == 0 || text.as_bytes()[found as usize - 1] == b'\n');
    }
    assert_eq!(segments.find(0)?, 0);
    Ok(())
}

/// Other programs read a segment: `zstdcat` and eventfold.
#[test]
fn each_is_a_zst_file_like_any_other() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (segments, text) = written(directory.path())?;
    let mut whole = Vec::new();
    for span in segments.spans().iter() {
        whole.extend(std::fs::read(segments.path(*span))?);
    }
    assert!(zstd::decode_all(&whole[..])? == text.as_bytes());
    let eventfold = tempfile::tempdir()?;
    std::fs::write(eventfold.path().join("archive.jsonl.zst"), whole)?;
    std::fs::write(eventfold.path().join("app.jsonl"), "")?;
    let reader = eventfold::EventReader::new(eventfold.path());
    assert_eq!(reader.read_full()?.count(), 5_001);
    Ok(())
}

#[test]
fn what_a_rotation_has_left_is_removed() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (segments, text) = written(directory.path())?;
    let last = *segments.spans().last().ok_or("none")?;
    let start_of = |first, is_backup| {
        Segments::start_of(&files(), directory.path(), Some(first), is_backup).ok()
    };
    assert_eq!(start_of(5_002, false), Some(last.end));
    assert_eq!(start_of(3_002, false), Some(last.start));
    assert_eq!(
        start_of(3_001, false),
        None,
        "what comes behind is not given up"
    );
    assert_eq!(
        start_of(3_001, true),
        segments.spans().get(1).map(|span| span.start)
    );
    assert_eq!(start_of(1, true), Some(0));
    let again = Segments::open(&files(), directory.path(), &cache(), last.start)?;
    assert!(!segments.path(last).exists());
    assert!(
        read_all(|from, step| again.read(from, step), 1 << 20)?
            == text.as_bytes()[..last.start as usize]
    );
    // The segment is written again, even over the remains of an earlier attempt.
    std::fs::write(again.path(last).with_extension("zst.new"), "half a segment")?;
    write(&again, &lines(3_002, 2_000), 3_002)?;
    assert!(read_all(|from, step| again.read(from, step), 1 << 20)? == text.as_bytes());
    Ok(())
}

#[test]
fn what_is_missing_cut_or_another_is_damage() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (segments, text) = written(directory.path())?;
    let end = text.len() as u64;
    let spans = segments.spans();
    let [first, second, third] = spans[..] else {
        return Err("not three".into());
    };
    let reason = |at: u64| {
        let opened = Segments::open(&files(), directory.path(), &cache(), end);
        match opened.and_then(|segments| segments.read(at, 10)) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(reason(0), "");
    for (span, at) in [
        (first, first.start),
        (second, second.start),
        (third, third.end - 1),
    ] {
        let path = segments.path(span);
        let whole = std::fs::read(&path)?;
        std::fs::write(&path, &whole[..whole.len() - 1])?;
        assert!(reason(at).contains("restore"), "{}", reason(at));
        std::fs::remove_file(&path)?;
        // Without the second segment, the first seems to be too short.
        assert!(
            reason(first.start).contains("restore") || span == third,
            "{}",
            reason(first.start)
        );
        assert!(reason(at).contains("restore"), "{}", reason(at));
        std::fs::write(&path, whole)?;
        assert_eq!(reason(at), "");
    }
    Ok(())
}

#[test]
fn a_changed_byte_is_damage_or_nothing() -> TestResult {
    let directory = tempfile::tempdir()?;
    let segments = Segments::open(&files(), directory.path(), &cache(), 0)?;
    let lines = lines(1, 30);
    let text = lines.concat();
    let span = write(&segments, &lines, 1)?;
    let path = segments.path(span);
    let whole = std::fs::read(&path)?;
    for index in 0..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 0x10;
        std::fs::write(&path, changed)?;
        let opened = Segments::open(&files(), directory.path(), &cache(), span.end)?;
        if let Ok(read) = read_all(|from, step| opened.read(from, step), 1 << 20) {
            // The checksums of the lines protect the text itself.
            assert_eq!(read.len(), text.len(), "byte {index}");
        }
    }
    Ok(())
}
