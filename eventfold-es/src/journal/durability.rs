/// The condition under which a command counts as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// It is on the disk: an acknowledged command survives a power loss.
    #[default]
    Sync,
    /// The operating system has it: an acknowledged command survives the end of the process, but not that of the machine. The
    /// disk is written in the background. A power loss takes a tail of the commands, never a part of a command. It never takes
    /// a command from before a surviving command. This is for tests, and for imports that can be repeated.
    Flush,
}
