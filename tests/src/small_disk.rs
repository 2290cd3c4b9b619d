//! A disk in memory that a test fills and empties. It is unmounted with the test, however that ends.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Mounts the disk until its standard input ends.
const KEEPER: &str = r#"
mount -t tmpfs -o "size=$2m,mode=777" eventfold-es "$1" || exit 1
trap "" INT TERM HUP
echo mounted
read -r word
umount -l "$1"
"#;

/// A mounted disk.
pub struct SmallDisk {
    directory: PathBuf,
    keeper: Child,
}

impl SmallDisk {
    /// Mounts a disk of this size at a directory. Without the permission to mount, it says so: `None`.
    ///
    /// # Errors
    ///
    /// If no shell can be started.
    pub fn mount(directory: &Path, megabytes: u32) -> io::Result<Option<Self>> {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(directory)
            .arg(megabytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut word = String::new();
        if let Some(output) = keeper.stdout.take() {
            BufReader::new(output).read_line(&mut word)?;
        }
        if word != "mounted\n" {
            keeper.wait()?;
            // Not `eprintln!`, whose text is shown for tests that fail.
            let _ = writeln!(
                io::stderr(),
                "LEFT OUT: this test mounts a small disk, which only root may do"
            );
            return Ok(None);
        }
        let directory = directory.to_owned();
        Ok(Some(Self { directory, keeper }))
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join("ballast")
    }

    /// Fills the disk to the last byte.
    ///
    /// # Errors
    ///
    /// Other than that of a full disk.
    pub fn fill(&self) -> io::Result<()> {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())?;
        for size in [1 << 20, 1 << 12, 1] {
            loop {
                match ballast.write(&vec![1; size]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Ends [`fill`](Self::fill).
    ///
    /// # Errors
    ///
    /// If the disk is not filled.
    pub fn empty(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It ends when its standard input does.
        let _ = self.keeper.wait();
    }
}
