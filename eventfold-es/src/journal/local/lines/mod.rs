//! One commit as a line: writing it, and reading it back.

pub(in crate::journal::local) mod line;
pub(in crate::journal::local) mod line_canonical;
pub(in crate::journal::local) mod line_events;
pub(in crate::journal::local) mod line_json;
pub(in crate::journal::local) mod line_read;
