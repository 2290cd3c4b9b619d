//! The event handler that writes files.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use eventfold_es::prelude::*;

use super::reports::{Report, ReportCommand, ReportEvent};

/// Writes each report to a file of its date.
#[event_handler(subscribes = [Report], dispatches = [Report])]
pub struct Writer {
    pub directory: PathBuf,
}

impl Handle<Report> for Writer {
    type Error = io::Error;

    async fn handle(
        &self,
        event: &ReportEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), io::Error> {
        let ReportEvent::Completed {
            sales,
            cents,
            nights,
        } = event
        else {
            return Ok(());
        };
        let text = format!("sales: {sales}, cents: {cents}, nights: {nights}\n");
        let name = format!("{}.txt", cx.stream_id());
        // A repeated call replaces the file with the same content.
        let (directory, file) = (self.directory.clone(), name.clone());
        let written = tokio::task::spawn_blocking(move || write(&directory, &file, &text));
        written.await??;
        cx.send(cx.stream_id(), ReportCommand::NoteFile { name });
        Ok(())
    }
}

/// Writes a whole file, durably: after a crash the old file is there, or the new one.
fn write(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let part = directory.join(format!("{name}.part"));
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(part, directory.join(name))?;
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
