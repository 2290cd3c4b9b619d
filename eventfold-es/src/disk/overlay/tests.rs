use std::fs;

use super::*;
use crate::disk::SystemDisk;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A disk that fails the test on any change.
struct Untouchable;

fn touched<T>() -> io::Result<T> {
    panic!("something other than a read reached the disk below")
}

impl Disk for Untouchable {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        match mode {
            OpenMode::Read => SystemDisk.open(path, mode),
            OpenMode::Write | OpenMode::Truncate => touched(),
        }
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        touched()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        touched()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        touched()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        touched()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        SystemDisk.exists(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        SystemDisk.list(path)
    }

    fn try_lock(&self, _: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        touched()
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_of<'a>(&mut self, names: &[&'a str]) -> &'a str {
        let index = self.below(names.len() as u64) as usize;
        names.get(index).copied().unwrap_or_default()
    }
}

const DIRECTORIES: [&str; 5] = ["", "old", "old/deep", "new", "new/deep"];
const FILES: [&str; 8] = [
    "a",
    "b",
    "old/a",
    "old/b",
    "old/deep/a",
    "new/a",
    "new/deep/a",
    "new/deep/b",
];

fn fill(base: &Path) -> io::Result<()> {
    fs::create_dir_all(base.join("old/deep"))?;
    fs::write(base.join("a"), vec![b'a'; 100])?;
    fs::write(base.join("old/a"), vec![b'o'; 50])?;
    fs::write(base.join("old/deep/a"), "")
}

/// Every file and directory that a disk shows, with the content of the files.
fn picture(disk: &dyn Disk, path: &Path) -> io::Result<Vec<(PathBuf, Option<Vec<u8>>)>> {
    let mut entries = disk.list(path)?;
    entries.sort();
    let mut seen = Vec::new();
    for entry in entries {
        let path = path.join(entry.name);
        if entry.is_directory {
            seen.push((path.clone(), None));
            seen.extend(picture(disk, &path)?);
        } else {
            let file = disk.open(&path, OpenMode::Read)?;
            seen.push((path, Some(content(&*file)?)));
        }
    }
    Ok(seen)
}

fn content(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.len()? as usize];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at as u64)? {
            0 => break,
            read => at += read,
        }
    }
    assert_eq!(at, bytes.len(), "a file ends before its length");
    Ok(bytes)
}

/// The result of a call without its error: the errors of two disks may differ in their text.
fn seen<T>(result: io::Result<T>) -> Option<T> {
    result.ok()
}

#[test]
fn random_operations_give_the_same_picture_as_on_a_real_disk_and_leave_the_disk_below_alone()
-> TestResult {
    for seed in 1..40 {
        let place = tempfile::tempdir()?;
        let (real, below) = (place.path().join("real"), place.path().join("below"));
        fill(&real)?;
        fill(&below)?;
        let untouched = picture(&SystemDisk, &below)?;
        let overlay = OverlayDisk::new(Arc::new(Untouchable));
        let disks: [(&dyn Disk, &Path); 2] = [(&SystemDisk, &real), (&overlay, &below)];
        let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut handles: Vec<[Box<dyn DiskFile>; 2]> = Vec::new();
        for step in 0..300 {
            let what = random.below(14);
            let (name, other) = (random.one_of(&FILES), random.one_of(&FILES));
            let directory = random.one_of(&DIRECTORIES);
            let (offset, length) = (random.below(150), random.below(60) as usize);
            let byte = random.below(256) as u8;
            let mode = match random.below(3) {
                0 => OpenMode::Read,
                1 => OpenMode::Write,
                _ => OpenMode::Truncate,
            };
            let handle = random.below(handles.len().max(1) as u64) as usize;
            let case = format!("seed {seed}, step {step}, operation {what}");
            match what {
                0..=3 => {
                    let [on_real, on_overlay] =
                        disks.map(|(disk, base)| disk.open(&base.join(name), mode));
                    assert_eq!(on_real.is_ok(), on_overlay.is_ok(), "{case}");
                    if let (Ok(on_real), Ok(on_overlay)) = (on_real, on_overlay) {
                        handles.push([on_real, on_overlay]);
                    }
                    if handles.len() > 8 {
                        handles.remove(0);
                    }
                }
                4..=8 => {
                    let Some(files) = handles.get(handle) else {
                        continue;
                    };
                    let [on_real, on_overlay] = files.each_ref().map(|file| {
                        let done = match what {
                            4..=6 => seen(file.write_at(&vec![byte; length], offset)),
                            _ => seen(file.set_len(offset)).map(|()| 0),
                        };
                        (done, seen(content(&**file)))
                    });
                    // Writing no bytes through a handle for reading succeeds on some disks only.
                    if length > 0 || what > 6 {
                        assert_eq!(on_real, on_overlay, "{case}");
                    }
                }
                9 => {
                    let done = disks
                        .map(|(disk, base)| seen(disk.rename(&base.join(name), &base.join(other))));
                    assert_eq!(done[0], done[1], "{case}: {name} to {other}");
                }
                10 => {
                    let name = if byte < 40 { directory } else { name };
                    let done = disks.map(|(disk, base)| seen(disk.remove_file(&base.join(name))));
                    assert_eq!(done[0], done[1], "{case}: {name}");
                }
                11 => {
                    let is_file = real.join(name).is_file();
                    let path = if is_file { name } else { directory };
                    let done =
                        disks.map(|(disk, base)| seen(disk.create_dir_all(&base.join(path))));
                    assert_eq!(done[0], done[1], "{case}: {path}");
                }
                12 if real.join(directory).is_dir() => {
                    let done = disks
                        .map(|(disk, base)| seen(disk.open(&base.join(directory), OpenMode::Write)))
                        .map(|file| file.is_some());
                    assert_eq!(done[0], done[1], "{case}: {directory}");
                }
                _ => {
                    let exist = disks.map(|(disk, base)| seen(disk.exists(&base.join(name))));
                    assert_eq!(exist[0], exist[1], "{case}: {name}");
                }
            }
            let [on_real, on_overlay] = disks.map(|(disk, base)| {
                let picture = picture(disk, base)?.into_iter();
                let relative = picture
                    .map(|(path, content)| (path.strip_prefix(base).map(Path::to_owned), content));
                io::Result::Ok(relative.collect::<Vec<_>>())
            });
            assert_eq!(on_real?, on_overlay?, "{case}");
        }
        assert_eq!(picture(&SystemDisk, &below)?, untouched, "seed {seed}");
    }
    Ok(())
}

#[test]
fn locks_and_syncs_succeed_without_the_disk_below() -> TestResult {
    let place = tempfile::tempdir()?;
    let overlay = OverlayDisk::new(Arc::new(Untouchable));
    let lock = overlay.try_lock(&place.path().join("lock"))?;
    lock.ok_or("it is taken")?;
    overlay.sync_dir(place.path())?;
    let lock = overlay.try_lock(place.path())?.ok_or("it is taken")?;
    assert!(lock.is_at(place.path())?);
    assert_eq!(fs::read_dir(place.path())?.count(), 0);
    Ok(())
}

#[test]
fn only_what_is_written_takes_memory() -> TestResult {
    let place = tempfile::tempdir()?;
    let path = place.path().join("large");
    fs::File::create(&path)?.set_len(1 << 40)?;
    let overlay = OverlayDisk::new(Arc::new(Untouchable));
    let file = overlay.open(&path, OpenMode::Write)?;
    file.write_at(b"here", 1 << 39)?;
    let mut bytes = [1; 8];
    assert_eq!(file.read_at(&mut bytes, (1 << 39) - 2)?, 2);
    assert_eq!(file.read_at(&mut bytes, 1 << 39)?, 4);
    assert_eq!(bytes.get(..4), Some(&b"here"[..]));
    assert_eq!(file.len()?, 1 << 40);
    for _ in 0..100 {
        drop(overlay.open(&path, OpenMode::Read)?);
    }
    assert!(overlay.names().unchanged.len() < 2);
    Ok(())
}
