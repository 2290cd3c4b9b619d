use super::*;
use crate::disk::{Failure, Fault, SystemDisk};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn faulty() -> FaultyDisk {
    FaultyDisk::new(Arc::new(SystemDisk))
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn every_kind_of_call_is_counted_and_can_fail() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (a, b, c) = ["a", "b", "c"]
        .map(|name| directory.path().join(name))
        .into();
    let disk = faulty();
    let file = disk.open(&a, OpenMode::Write)?;
    let lock = disk
        .try_lock(directory.path())?
        .ok_or("the lock is taken")?;
    disk.rename(&a, &b)?;
    type Call<'a> = (Operation, Box<dyn Fn() -> io::Result<()> + 'a>);
    let calls: Vec<Call<'_>> = vec![
        (
            Operation::Open,
            Box::new(|| disk.open(&b, OpenMode::Read).map(drop)),
        ),
        (
            Operation::CreateDir,
            Box::new(|| disk.create_dir_all(directory.path())),
        ),
        (Operation::Rename, Box::new(|| disk.rename(&b, &b))),
        (
            Operation::Remove,
            Box::new(|| {
                std::fs::write(&c, "")?;
                disk.remove_file(&c)
            }),
        ),
        (
            Operation::SyncDir,
            Box::new(|| disk.sync_dir(directory.path())),
        ),
        (Operation::Exists, Box::new(|| disk.exists(&b).map(drop))),
        (
            Operation::List,
            Box::new(|| disk.list(directory.path()).map(drop)),
        ),
        (
            Operation::Lock,
            Box::new(|| disk.try_lock(directory.path()).map(drop)),
        ),
        (
            Operation::IsAt,
            Box::new(|| lock.is_at(directory.path()).map(drop)),
        ),
        (Operation::Len, Box::new(|| file.len().map(drop))),
        (
            Operation::Read,
            Box::new(|| file.read_at(&mut [0; 4], 0).map(drop)),
        ),
        (
            Operation::Write,
            Box::new(|| file.write_at(b"abcd", 0).map(drop)),
        ),
        (Operation::SetLen, Box::new(|| file.set_len(3))),
        (Operation::SyncData, Box::new(|| file.sync_data())),
    ];
    for (operation, call) in &calls {
        let before = disk.calls();
        call()?;
        assert_eq!(disk.calls(), before + 1, "{operation:?}");
        disk.inject(Fault::once(0, Failure::EMFILE).on(&[*operation]));
        assert_eq!(errno(call()), Some(24), "{operation:?}");
        call()?;
        let hit = disk.hits().pop().map(|hit| hit.operation);
        assert_eq!(hit, Some(*operation));
        assert!(disk.calls_of(&[*operation]) >= 3);
    }
    assert_eq!(disk.hits().len(), calls.len());
    Ok(())
}

#[test]
fn a_fault_counts_the_calls_it_applies_to() -> TestResult {
    let directory = tempfile::tempdir()?;
    let disk = faulty();
    let a = disk.open(&directory.path().join("a"), OpenMode::Write)?;
    let b = disk.open(&directory.path().join("b"), OpenMode::Write)?;
    disk.inject(
        Fault::once(1, Failure::EIO)
            .on(&[Operation::Write])
            .at(|path| path.ends_with("a")),
    );
    a.len()?;
    b.write_at(b"x", 0)?;
    b.write_at(b"x", 0)?;
    a.write_at(b"x", 0)?;
    assert_eq!(errno(a.write_at(b"y", 0)), Some(5));
    a.write_at(b"z", 0)?;
    assert_eq!(
        disk.hits(),
        [Hit {
            operation: Operation::Write,
            path: directory.path().join("a"),
            failure: Failure::EIO,
        }]
    );
    Ok(())
}

#[test]
fn reads_and_writes_come_up_short() -> TestResult {
    let directory = tempfile::tempdir()?;
    let disk = faulty();
    let file = disk.open(&directory.path().join("a"), OpenMode::Write)?;
    disk.inject(Fault::starting(0, Failure::Short));
    assert_eq!(file.write_at(b"abcdef", 0)?, 3);
    assert_eq!(file.len()?, 3);
    assert_eq!(file.write_at(b"d", 3)?, 1);
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(&mut buffer, 0)?, 2);
    assert_eq!(&buffer, b"ab\0\0");
    file.sync_data()?;
    // A short write, followed by a full disk.
    disk.clear();
    disk.inject(Fault::once(0, Failure::Short));
    disk.inject(Fault::starting(1, Failure::ENOSPC).on(&[Operation::Write]));
    assert_eq!(file.write_at(b"1234", 0)?, 2);
    assert_eq!(errno(file.write_at(b"34", 2)), Some(28));
    Ok(())
}

#[test]
fn of_two_faults_the_one_injected_first_decides_and_both_count() -> TestResult {
    let directory = tempfile::tempdir()?;
    let disk = faulty();
    let file = disk.open(&directory.path().join("a"), OpenMode::Write)?;
    disk.inject(Fault::once(0, Failure::ENOSPC));
    disk.inject(Fault::once(0, Failure::EIO));
    assert_eq!(errno(file.sync_data()), Some(28));
    file.sync_data()?;
    Ok(())
}
