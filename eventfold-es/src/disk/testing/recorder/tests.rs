use std::fs;

use super::*;
use crate::disk::testing::{Failure, Fault, FaultyDisk, Operation, SplitMix64, Survival};
use crate::disk::{DiskFile, Files, OpenMode, replace_file};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The log in short form.
fn show(ops: &[DiskOp]) -> Vec<String> {
    let show = |op: &DiskOp| match op {
        DiskOp::CreateFile { path, file } => format!("create {}={}", path.display(), file.0),
        DiskOp::CreateDir { path } => format!("mkdir {}", path.display()),
        DiskOp::Write {
            file,
            offset,
            bytes,
            ..
        } => format!("write {} at {offset}: {}", file.0, bytes.escape_ascii()),
        DiskOp::SetLen { file, length, .. } => format!("cut {} to {length}", file.0),
        DiskOp::Rename { from, to } => format!("mv {} {}", from.display(), to.display()),
        DiskOp::Remove { path } => format!("rm {}", path.display()),
        DiskOp::SyncData { file, .. } => format!("sync {}", file.0),
        DiskOp::SyncDir { path } => format!("sync dir {:?}", path),
        other => format!("{other:?}"),
    };
    ops.iter().map(show).collect()
}

#[test]
fn what_changes_something_is_logged_in_order() -> TestResult {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let disk = RecordingDisk::new(root)?;
    assert!(disk.is_empty());
    disk.create_dir_all(&root.join("x/y"))?;
    disk.create_dir_all(&root.join("x/z"))?;
    let file = disk.open(&root.join("x/y/f"), OpenMode::Write)?;
    assert_eq!(file.write_at(b"abc", 0)?, 3);
    assert_eq!(file.write_at(b"", 9)?, 0);
    file.set_len(2)?;
    file.sync_data()?;
    disk.rename(&root.join("x/y/f"), &root.join("x/g"))?;
    disk.rename(&root.join("x/g"), &root.join("x/g"))?;
    // The handle still writes to the same file, which has a different name now.
    file.write_at(b"d", 2)?;
    disk.open(&root.join("x/g"), OpenMode::Read)?;
    disk.open(&root.join("x/g"), OpenMode::Write)?;
    disk.open(&root.join("x/g"), OpenMode::Truncate)?;
    disk.open(&root.join("x/h"), OpenMode::Truncate)?;
    let missing = disk.open(&root.join("nothing"), OpenMode::Read);
    assert_eq!(
        missing.err().map(|error| error.kind()),
        Some(io::ErrorKind::NotFound)
    );
    assert!(disk.exists(&root.join("x/h"))?);
    disk.sync_dir(&root.join("x"))?;
    disk.sync_dir(root)?;
    let expected = vec![
        "mkdir x",
        "mkdir x/y",
        "mkdir x/z",
        "create x/y/f=0",
        "write 0 at 0: abc",
        "cut 0 to 2",
        "sync 0",
        "mv x/y/f x/g",
        "write 0 at 2: d",
        "cut 0 to 0",
        "create x/h=1",
        "sync dir \"x\"",
        "sync dir \"\"",
    ];
    assert_eq!(show(&disk.ops()), expected);
    assert_eq!(disk.len(), expected.len());
    disk.check()?;
    Ok(())
}

#[test]
fn a_lock_is_taken_once_and_leaves_nothing() -> TestResult {
    let directory = tempfile::tempdir()?;
    let disk = RecordingDisk::new(directory.path())?;
    let lock = disk.try_lock(directory.path())?.ok_or("it is locked")?;
    assert!(disk.try_lock(directory.path())?.is_none());
    assert!(lock.is_at(directory.path())?);
    drop(lock);
    assert!(disk.try_lock(directory.path())?.is_some());
    assert!(disk.ops().is_empty());
    disk.check()?;
    Ok(())
}

#[test]
fn what_was_there_counts_as_durable() -> TestResult {
    let directory = tempfile::tempdir()?;
    fs::create_dir_all(directory.path().join("d/e"))?;
    fs::write(directory.path().join("d/f"), b"content")?;
    fs::write(directory.path().join("empty"), b"")?;
    let disk = RecordingDisk::new(directory.path())?;
    let recording = disk.recording();
    assert_eq!(recording.start(), recording.len());
    let image = CrashImage::power_loss(&recording, &Survival::Nothing)?;
    assert_eq!(image, CrashImage::read(directory.path())?);
    // The recording continues with the existing files, which get numbers.
    disk.open(&directory.path().join("new"), OpenMode::Write)?;
    let file = disk.open(&directory.path().join("d/f"), OpenMode::Write)?;
    file.write_at(b"C", 0)?;
    disk.check()?;
    Ok(())
}

#[test]
fn changes_outside_of_the_directory_are_refused() -> TestResult {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("root");
    fs::create_dir(&root)?;
    fs::write(directory.path().join("other"), b"")?;
    let disk = RecordingDisk::new(&root)?;
    for path in [directory.path().join("a"), root.join("../a")] {
        for mode in [OpenMode::Write, OpenMode::Truncate] {
            let refused = disk.open(&path, mode).err().map(|error| error.kind());
            assert_eq!(refused, Some(io::ErrorKind::InvalidInput));
        }
        assert!(disk.create_dir_all(&path).is_err());
        assert!(disk.rename(&path, &root.join("a")).is_err());
        assert!(!path.try_exists()?);
    }
    disk.open(&directory.path().join("other"), OpenMode::Read)?;
    disk.sync_dir(directory.path())?;
    disk.create_dir_all(directory.path())?;
    disk.create_dir_all(&root)?;
    assert!(disk.is_empty());
    Ok(())
}

#[test]
fn a_change_made_without_the_disk_is_noticed() -> TestResult {
    let directory = tempfile::tempdir()?;
    let disk = RecordingDisk::new(directory.path())?;
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    disk.open(&a, OpenMode::Write)?.write_at(b"x", 0)?;
    fs::write(&b, b"")?;
    for mode in [OpenMode::Read, OpenMode::Write, OpenMode::Truncate] {
        assert!(disk.open(&b, mode).is_err());
    }
    assert!(disk.rename(&a, &b).is_err());
    assert!(disk.check().is_err());
    fs::remove_file(&b)?;
    disk.check()?;
    fs::write(&a, b"y")?;
    assert!(disk.check().is_err());
    fs::remove_file(&a)?;
    assert!(disk.open(&a, OpenMode::Write).is_err());
    Ok(())
}

/// A kill between write and sync, a second run, and then a power loss. The data that the second run served must have been
/// synced by the second run. Writing it again without a sync does not suffice.
#[test]
fn unsynced_content_of_a_killed_run_stays_unsynced() -> TestResult {
    let first = tempfile::tempdir()?;
    let disk = RecordingDisk::new(first.path())?;
    let file = disk.open(&first.path().join("a"), OpenMode::Write)?;
    disk.sync_dir(first.path())?;
    file.write_at(b"synced ", 0)?;
    file.sync_data()?;
    disk.mark("synced");
    file.write_at(b"unsynced", 7)?;
    disk.mark("never acknowledged");
    let killed = disk.recording().until(4, 5);
    assert_eq!(killed.marks().len(), 1);

    let second = tempfile::tempdir()?;
    CrashImage::killed(&killed)?.materialise(second.path())?;
    let disk = RecordingDisk::continue_from(killed.clone(), second.path())?;
    assert_eq!(disk.recording().start(), 5);
    let nothing = |disk: &RecordingDisk| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let image = CrashImage::power_loss(&disk.recording(), &Survival::Nothing)?;
        Ok(image.file("a").ok_or("a is missing")?.to_vec())
    };
    let file = disk.open(&second.path().join("a"), OpenMode::Write)?;
    let mut buffer = [0; 20];
    assert_eq!(file.read_at(&mut buffer, 0)?, 12);
    assert_eq!(&buffer[..12], b"synced unsyn");
    assert_eq!(nothing(&disk)?, b"synced ");
    file.write_at(b"unsyn", 7)?;
    assert_eq!(nothing(&disk)?, b"synced ");
    disk.open(&second.path().join("other"), OpenMode::Write)?
        .sync_data()?;
    assert_eq!(nothing(&disk)?, b"synced ");
    file.sync_data()?;
    assert_eq!(nothing(&disk)?, b"synced unsyn");
    disk.check()?;

    // A directory without the image of that kill is refused.
    let wrong = tempfile::tempdir()?;
    assert!(RecordingDisk::continue_from(killed, wrong.path()).is_err());
    Ok(())
}

#[test]
fn replacing_a_file_is_atomic_at_every_crash_point() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (old, new) = (vec![b'o'; 1500], vec![b'n'; 2100]);
    let path = directory.path().join("checkpoint.json");
    fs::write(&path, &old)?;
    let disk = RecordingDisk::new(directory.path())?;
    replace_file(&Files::new(Arc::new(disk.clone())), &path, &new)?;
    let recording = disk.recording();
    let mut seen = [false; 2];
    let mut survivals = vec![
        Survival::All,
        Survival::Nothing,
        Survival::EntriesOnly,
        Survival::LengthsOnly,
        Survival::ContentOnly,
    ];
    survivals.extend((0..50).map(Survival::Random));
    for k in recording.start()..=recording.len() {
        for torn in recording.tears(k) {
            let crashed = recording.until(k, torn);
            let mut images = vec![CrashImage::killed(&crashed)?];
            for survival in &survivals {
                images.push(CrashImage::power_loss(&crashed, survival)?);
            }
            for image in images {
                let found = image.file("checkpoint.json").ok_or("it is missing")?;
                seen[usize::from(found == new)] = true;
                assert!(found == old || found == new, "at {k}, {torn} bytes");
                if k == recording.len() {
                    assert_eq!(found, new);
                }
            }
        }
    }
    assert_eq!(seen, [true; 2]);
    Ok(())
}

#[test]
fn threads_are_logged_in_the_order_of_their_effects() -> TestResult {
    let directory = tempfile::tempdir()?;
    let disk = RecordingDisk::new(directory.path())?;
    let path = directory.path().join("a");
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u8)
            .map(|thread| {
                let (disk, path) = (disk.clone(), &path);
                scope.spawn(move || -> io::Result<()> {
                    let file = disk.open(path, OpenMode::Write)?;
                    for round in 0..200u8 {
                        file.write_at(&[thread * 50 + round % 50; 700], u64::from(round))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    assert_eq!(disk.len(), 801);
    disk.check()?;
    Ok(())
}

/// After any operations, the page cache of the model equals the real directory, also in a run after a kill.
#[test]
fn the_model_agrees_with_the_file_system() -> TestResult {
    for seed in 0..20 {
        let mut random = SplitMix64::new(seed);
        let mut directory = tempfile::tempdir()?;
        let mut disk = RecordingDisk::new(directory.path())?;
        let mut files: Vec<Box<dyn DiskFile>> = Vec::new();
        for step in 0..200u8 {
            let root = directory.path().to_owned();
            let name = |random: &mut SplitMix64| {
                let folder = ["", "d", "d/e"][random.below(3)];
                root.join(folder).join(["a", "b", "c"][random.below(3)])
            };
            let file = random.below(files.len());
            match random.below(11) {
                0 => disk.create_dir_all(&root.join(["d", "d/e"][random.below(2)]))?,
                1 | 2 => {
                    let path = name(&mut random);
                    let mode = [OpenMode::Write, OpenMode::Truncate][random.below(2)];
                    if path.parent().is_some_and(Path::is_dir) {
                        files.push(disk.open(&path, mode)?);
                    }
                }
                3 => {
                    // A rename may fail on the file system. The model must then be unchanged.
                    let _ = disk.rename(&name(&mut random), &name(&mut random));
                }
                4 => disk.sync_dir(&root)?,
                10 => {
                    let _ = disk.remove_file(&name(&mut random));
                }
                5 if random.chance(1) => {
                    let recording = disk.recording();
                    let k = recording.len().saturating_sub(random.below(3));
                    let tears = recording.tears(k);
                    let killed = recording.until(k, tears[random.below(tears.len())]);
                    let next = tempfile::tempdir()?;
                    CrashImage::killed(&killed)?.materialise(next.path())?;
                    files.clear();
                    disk = RecordingDisk::continue_from(killed, next.path())?;
                    directory = next;
                }
                _ if files.is_empty() => {}
                5 => files[file].sync_data()?,
                6 => files[file].set_len(random.below(2000) as u64)?,
                _ => {
                    let bytes = vec![step; random.below(1500)];
                    files[file].write_at(&bytes, random.below(1500) as u64)?;
                }
            }
        }
        disk.check().map_err(|error| format!("{seed}: {error}"))?;
        let recording = disk.recording();
        let all = CrashImage::power_loss(&recording, &Survival::All)?;
        assert_eq!(all, CrashImage::read(directory.path())?, "seed {seed}");
        let some = CrashImage::power_loss(&recording, &Survival::Random(seed))?;
        let again = CrashImage::power_loss(&recording, &Survival::Random(seed))?;
        assert_eq!(some, again);
    }
    Ok(())
}

#[test]
fn a_failed_sync_is_part_of_the_recording() -> TestResult {
    let directory = tempfile::tempdir()?;
    let faults = FaultyDisk::new(Arc::new(SystemDisk));
    let disk = RecordingDisk::new(directory.path())?.over(Arc::new(faults.clone()));
    let file = disk.open(&directory.path().join("a"), OpenMode::Write)?;
    disk.sync_dir(directory.path())?;
    file.write_at(b"x", 0)?;
    faults.inject(Fault::once(0, Failure::EIO).on(&[Operation::SyncData]));
    assert!(file.sync_data().is_err());
    // The kernel reports success for the next sync, but the byte is not on the disk.
    file.sync_data()?;
    let image = CrashImage::power_loss(&disk.recording(), &Survival::Nothing)?;
    assert_eq!(image.file("a"), Some(&b"\0"[..]));
    Ok(())
}
