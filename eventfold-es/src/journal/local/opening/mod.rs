//! Opening a directory: its layout, recovery, and the release by an earlier store.

pub(in crate::journal::local) mod layout;
pub(in crate::journal::local) mod new_journal;
pub(in crate::journal::local) mod read_only;
pub(in crate::journal::local) mod recovery;
pub(in crate::journal::local) mod redo;
pub(in crate::journal::local) mod release;
pub(in crate::journal::local) mod scan;
