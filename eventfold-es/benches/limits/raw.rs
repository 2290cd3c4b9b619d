//! What the disk does without a store: one small append and one sync after the other.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// The bytes of one append, as many as the line of one event.
const APPEND_BYTES: usize = 200;

/// What the disk reached, over one or several measurements.
#[derive(Default)]
pub(crate) struct Raw {
    elapsed: Duration,
    pub(crate) latencies: Vec<Duration>,
}

impl Raw {
    /// Appends to a new file, with `fdatasync` after each append, for a while.
    pub(crate) fn measure(directory: &Path, during: Duration) -> io::Result<Self> {
        let path = directory.join("raw");
        let mut file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&path)?;
        let mut line = [b'x'; APPEND_BYTES];
        if let Some(last) = line.last_mut() {
            *last = b'\n';
        }
        let mut latencies = Vec::new();
        let start = Instant::now();
        while start.elapsed() < during {
            let sent = Instant::now();
            file.write_all(&line)?;
            file.sync_data()?;
            latencies.push(sent.elapsed());
        }
        let elapsed = start.elapsed();
        fs::remove_file(path)?;
        Ok(Self { elapsed, latencies })
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn add(&mut self, later: Self) {
        self.elapsed += later.elapsed;
        self.latencies.extend(later.latencies);
    }
}
