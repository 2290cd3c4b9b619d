//! The dead letters of 0.2.0, which are lines of a file. They get rows, so that they can be redriven and discarded.

use crate::dead_letter::DeadLetter;
use crate::journal::RowChange;
use crate::process_manager::SourceEvent;
use crate::runtime::process_manager_rows::{AttemptRow, CommandRow, dead_letter_key, put};
use crate::runtime::{Cause, command_id};

/// The rows of these dead letters of a process manager. They precede the rows of the first event.
pub(super) fn rows_of(process_manager: &str, lines: &[Box<str>]) -> Vec<RowChange> {
    let letters = lines.iter().enumerate();
    let rows = letters.filter_map(|(number, line)| {
        let letter = serde_json::from_str(line).ok()?;
        Some(row_of(process_manager, number, letter))
    });
    rows.collect()
}

fn row_of(process_manager: &str, number: usize, letter: DeadLetter) -> RowChange {
    // No instance has this key.
    let command_id = command_id(process_manager, "\n\nwithout a row", 0, 0, number);
    let key = dead_letter_key(0, number, &command_id);
    let row = CommandRow {
        envelope: letter.envelope,
        // 0.2.0 did not record the cause of the command, so the command stands for it.
        cause: Cause {
            causation_id: command_id.as_str().into(),
            correlation_id: command_id.as_str().into(),
            depth: 1,
        },
        command_id,
        key: String::new(),
        generation: 0,
        source: SourceEvent::none(),
        attempts: vec![AttemptRow {
            kind: "unknown".to_owned(),
            error: letter.error,
            ts: letter.ts,
        }],
        backoff: None,
        is_compensation: false,
        index: number,
        is_dead: true,
    };
    put(key, &row)
}
