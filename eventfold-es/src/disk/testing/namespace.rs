use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::op::FileId;
use super::survival::Pick;

const ROOT: u64 = 0;

/// The target of a name. There are no hard links: a node has one name, or none after its removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Directory(u64),
    File(FileId),
}

type Entry = (u64, OsString);
type Entries = BTreeMap<Entry, Node>;

/// The directories: the entries that every process sees, the durable entries, and the changes between them.
#[derive(Debug, Clone, Default)]
pub(super) struct Namespace {
    current: Entries,
    durable: Entries,
    /// The changes from the first change that is not durable on, in order.
    changes: VecDeque<Change>,
    directories: u64,
}

/// A creation, a rename or a removal. It happens as a whole or not at all.
#[derive(Debug, Clone)]
struct Change {
    op: usize,
    /// The directory that lost the name, if this is a rename.
    left: Option<u64>,
    entry: Entry,
    /// The target of the name; `None` after a removal.
    node: Option<Node>,
    durable: bool,
}

impl Change {
    fn apply(&self, entries: &mut Entries) {
        if self.left.is_some() {
            entries.retain(|_, node| Some(*node) != self.node);
        }
        match self.node {
            Some(node) => entries.insert(self.entry.clone(), node),
            None => entries.remove(&self.entry),
        };
    }
}

impl Namespace {
    pub(super) fn resolve(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Directory(ROOT);
        for component in path.components() {
            let (Node::Directory(parent), Component::Normal(name)) = (node, component) else {
                return None;
            };
            node = *self.current.get(&(parent, name.to_owned()))?;
        }
        Some(node)
    }

    pub(super) fn create_file(
        &mut self,
        op: usize,
        path: &Path,
        file: FileId,
    ) -> Result<(), &'static str> {
        self.create(op, path, Node::File(file))
    }

    pub(super) fn create_dir(&mut self, op: usize, path: &Path) -> Result<(), &'static str> {
        let number = self.directories + 1;
        self.create(op, path, Node::Directory(number))?;
        self.directories = number;
        Ok(())
    }

    pub(super) fn rename(&mut self, op: usize, from: &Path, to: &Path) -> Result<(), &'static str> {
        let node = self.resolve(from).ok_or("the renamed name is missing")?;
        let (left, _) = self.entry(from)?;
        let entry = self.entry(to)?;
        if self.current.get(&entry) != Some(&node) {
            self.change(op, Some(left), entry, Some(node));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, op: usize, path: &Path) -> Result<(), &'static str> {
        let Some(Node::File(_)) = self.resolve(path) else {
            return Err("the removed file is missing");
        };
        let entry = self.entry(path)?;
        self.change(op, None, entry, None);
        Ok(())
    }

    /// Makes the changes in one directory durable. A rename out of the directory or into it is one change, so that its other
    /// side becomes durable too.
    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<(), &'static str> {
        let Some(Node::Directory(number)) = self.resolve(path) else {
            return Err("the synced directory is missing");
        };
        for change in &mut self.changes {
            change.durable |= change.entry.0 == number || change.left == Some(number);
        }
        self.settle();
        Ok(())
    }

    pub(super) fn sync_all(&mut self) {
        for change in &mut self.changes {
            change.durable = true;
        }
        self.settle();
    }

    pub(super) fn tree(&self) -> Vec<(PathBuf, Node)> {
        tree(&self.current)
    }

    pub(super) fn tree_after_power_loss(&self, pick: &mut dyn Pick) -> Vec<(PathBuf, Node)> {
        let mut entries = self.durable.clone();
        for change in &self.changes {
            if change.durable || pick.entry(change.op) {
                change.apply(&mut entries);
            }
        }
        tree(&entries)
    }

    fn create(&mut self, op: usize, path: &Path, node: Node) -> Result<(), &'static str> {
        let entry = self.entry(path)?;
        if self.current.contains_key(&entry) {
            return Err("the created name exists");
        }
        self.change(op, None, entry, Some(node));
        Ok(())
    }

    fn entry(&self, path: &Path) -> Result<Entry, &'static str> {
        let name = path.file_name().ok_or("a path without a name")?;
        match path.parent().and_then(|parent| self.resolve(parent)) {
            Some(Node::Directory(parent)) => Ok((parent, name.to_owned())),
            _ => Err("the directory is missing"),
        }
    }

    fn change(&mut self, op: usize, left: Option<u64>, entry: Entry, node: Option<Node>) {
        let change = Change {
            op,
            left,
            entry,
            node,
            durable: false,
        };
        change.apply(&mut self.current);
        self.changes.push_back(change);
    }

    fn settle(&mut self) {
        while let Some(change) = self.changes.pop_front_if(|change| change.durable) {
            change.apply(&mut self.durable);
        }
    }
}

/// The nodes that can be reached from the root, directories before their content.
fn tree(entries: &Entries) -> Vec<(PathBuf, Node)> {
    let mut found = Vec::new();
    let mut directories = vec![(PathBuf::new(), ROOT)];
    while let Some((path, number)) = directories.pop() {
        let children = entries
            .range((number, OsString::new())..)
            .take_while(|((parent, _), _)| *parent == number);
        for ((_, name), node) in children {
            let path = path.join(name);
            if let Node::Directory(number) = node {
                directories.push((path.clone(), *number));
            }
            found.push((path, *node));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::disk::testing::survival::Survival;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn show(tree: Vec<(PathBuf, Node)>) -> String {
        let mut names: Vec<_> = tree
            .into_iter()
            .map(|(path, node)| match node {
                Node::Directory(_) => format!("{}/", path.display()),
                Node::File(FileId(number)) => format!("{}={number}", path.display()),
            })
            .collect();
        names.sort();
        names.join(" ")
    }

    fn outcomes(namespace: &Namespace) -> BTreeSet<String> {
        (0..500)
            .map(|seed| {
                let survival = Survival::Random(seed);
                show(namespace.tree_after_power_loss(&mut *survival.pick()))
            })
            .collect()
    }

    fn set(outcomes: &[&str]) -> BTreeSet<String> {
        outcomes.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_rename_survives_as_a_whole_or_not_at_all() -> TestResult {
        let mut namespace = Namespace::default();
        namespace.create_file(0, "a".as_ref(), FileId(0))?;
        namespace.sync_dir("".as_ref())?;
        namespace.create_file(1, "tmp".as_ref(), FileId(1))?;
        namespace.rename(2, "tmp".as_ref(), "a".as_ref())?;
        assert_eq!(show(namespace.tree()), "a=1");
        assert_eq!(outcomes(&namespace), set(&["a=0", "a=0 tmp=1", "a=1"]));
        namespace.sync_dir("".as_ref())?;
        assert_eq!(outcomes(&namespace), set(&["a=1"]));
        Ok(())
    }

    #[test]
    fn a_chain_of_renames_never_gives_a_file_two_names() -> TestResult {
        let mut namespace = Namespace::default();
        namespace.create_file(0, "x".as_ref(), FileId(0))?;
        namespace.sync_all();
        namespace.rename(1, "x".as_ref(), "y".as_ref())?;
        namespace.rename(2, "y".as_ref(), "z".as_ref())?;
        assert_eq!(outcomes(&namespace), set(&["x=0", "y=0", "z=0"]));
        Ok(())
    }

    #[test]
    fn a_synced_directory_is_lost_with_its_own_entry() -> TestResult {
        let mut namespace = Namespace::default();
        namespace.create_dir(0, "d".as_ref())?;
        namespace.create_file(1, "d/f".as_ref(), FileId(0))?;
        namespace.sync_dir("d".as_ref())?;
        assert_eq!(outcomes(&namespace), set(&["", "d/ d/f=0"]));
        namespace.sync_dir("".as_ref())?;
        assert_eq!(outcomes(&namespace), set(&["d/ d/f=0"]));
        Ok(())
    }

    #[test]
    fn a_rename_between_directories_is_durable_with_either_and_keeps_its_place_in_the_order()
    -> TestResult {
        for synced in ["a", "b"] {
            let mut namespace = Namespace::default();
            namespace.create_dir(0, "a".as_ref())?;
            namespace.create_dir(1, "b".as_ref())?;
            namespace.create_file(2, "a/x".as_ref(), FileId(0))?;
            namespace.sync_all();
            namespace.create_file(3, "b/x".as_ref(), FileId(1))?;
            namespace.rename(4, "a/x".as_ref(), "b/x".as_ref())?;
            namespace.sync_dir(synced.as_ref())?;
            assert_eq!(outcomes(&namespace), set(&["a/ b/ b/x=0"]));
        }
        Ok(())
    }

    #[test]
    fn a_renamed_directory_keeps_what_it_holds() -> TestResult {
        let mut namespace = Namespace::default();
        namespace.create_dir(0, "a".as_ref())?;
        namespace.create_file(1, "a/x".as_ref(), FileId(0))?;
        namespace.sync_all();
        namespace.rename(2, "a".as_ref(), "b".as_ref())?;
        assert_eq!(namespace.resolve("a/x".as_ref()), None);
        assert_eq!(outcomes(&namespace), set(&["a/ a/x=0", "b/ b/x=0"]));
        Ok(())
    }

    #[test]
    fn a_removal_is_durable_with_its_directory() -> TestResult {
        let mut namespace = Namespace::default();
        namespace.create_file(0, "a".as_ref(), FileId(0))?;
        namespace.sync_all();
        namespace.remove(1, "a".as_ref())?;
        assert_eq!(show(namespace.tree()), "");
        assert_eq!(outcomes(&namespace), set(&["", "a=0"]));
        namespace.create_file(2, "a".as_ref(), FileId(1))?;
        assert_eq!(outcomes(&namespace), set(&["", "a=0", "a=1"]));
        namespace.sync_dir("".as_ref())?;
        assert_eq!(outcomes(&namespace), set(&["a=1"]));
        assert!(namespace.remove(3, "b".as_ref()).is_err());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> TestResult {
        let mut namespace = Namespace::default();
        namespace.create_file(0, "a".as_ref(), FileId(0))?;
        assert!(namespace.create_file(1, "a".as_ref(), FileId(1)).is_err());
        assert!(namespace.create_dir(1, "a/b".as_ref()).is_err());
        assert!(namespace.rename(1, "b".as_ref(), "c".as_ref()).is_err());
        assert!(namespace.sync_dir("a".as_ref()).is_err());
        assert!(namespace.create_dir(1, "".as_ref()).is_err());
        Ok(())
    }
}
