//! A file system that can fail and be crashed: what is live and what is durable are two things.

use crate::durable::disk::Disk;
use rustix::{fs::RenameFlags, io::Errno};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::Path,
};

pub type Inode = usize;
pub type Name = (Inode, OsString);
pub const ROOT: Inode = 0;

/// A change of names, which a crash keeps or drops as a whole; so does every journal, also across directories.
#[derive(Clone, Debug)]
pub struct Change {
    pub removes: Option<Name>,
    pub adds: Option<(Name, Inode)>,
    pub durable: bool,
}

impl Change {
    fn touches(&self, dir: Inode) -> bool {
        let added = self.adds.as_ref().map(|(name, _)| name);
        self.removes.iter().chain(added).any(|(parent, _)| *parent == dir)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Dir,
    Fifo,
    File {
        live: Vec<u8>,
        durable: Vec<u8>,
        /// Its fsync has failed: the kernel calls its pages clean now, and no later fsync writes them.
        spoilt: bool,
    },
}

#[derive(Clone, Debug)]
pub struct State {
    pub nodes: Vec<Node>,
    pub names: BTreeMap<Name, Inode>,
    pub changes: Vec<Change>,
}

/// Which operations fail.
#[derive(Clone, Copy, Debug)]
pub struct Failing {
    pub first: usize,
    pub last: usize,
    pub errno: Errno,
}

type Others = fn(&Fake);

/// See the module.
pub struct Fake {
    pub state: RefCell<State>,
    /// As it was before each operation, and what that was.
    pub history: RefCell<Vec<(String, State)>>,
    pub failing: Cell<Option<Failing>>,
    /// Somebody else's deeds, before that operation.
    pub meanwhile: Cell<Option<(usize, Others)>>,
}

impl Fake {
    pub fn new() -> Self {
        Self::of(State { nodes: vec![Node::Dir], names: BTreeMap::new(), changes: Vec::new() })
    }

    pub fn of(state: State) -> Self {
        Self {
            state: RefCell::new(state),
            history: RefCell::default(),
            failing: Cell::new(None),
            meanwhile: Cell::new(None),
        }
    }

    /// Everything is on disk.
    pub fn settle(self) -> Self {
        for change in &mut self.state.borrow_mut().changes {
            change.durable = true;
        }
        for node in &mut self.state.borrow_mut().nodes {
            if let Node::File { live, durable, .. } = node {
                durable.clone_from(live);
            }
        }
        self.history.borrow_mut().clear();
        self
    }

    pub fn make_fifo(&self, path: &Path) -> io::Result<()> {
        self.operation(format!("mkfifo {}", path.display()))?;
        self.state.borrow_mut().make(path, Node::Fifo).map(|_| ())
    }

    pub fn put(self, path: &str, bytes: &[u8]) -> Self {
        let node = Node::File { live: bytes.into(), durable: bytes.into(), spoilt: false };
        self.state.borrow_mut().make(path.as_ref(), node).unwrap();
        self
    }

    pub fn dir(self, path: &str) -> Self {
        self.state.borrow_mut().make(path.as_ref(), Node::Dir).unwrap();
        self
    }

    /// Its number; an error if it is to fail.
    fn operation(&self, what: String) -> io::Result<usize> {
        let number = self.history.borrow().len();
        if let Some((at, others)) = self.meanwhile.get()
            && at == number
        {
            self.meanwhile.set(None);
            others(self);
            return self.operation(what);
        }
        let state = self.state.borrow().clone();
        self.history.borrow_mut().push((what, state));
        match self.failing.get() {
            Some(failing) if (failing.first..=failing.last).contains(&number) => Err(failing.errno.into()),
            _ => Ok(number),
        }
    }
}

impl State {
    pub fn find(&self, path: &Path) -> Option<Inode> {
        path.iter().skip(1).try_fold(ROOT, |dir, name| self.names.get(&(dir, name.to_owned())).copied())
    }

    pub fn file(&self, path: &Path) -> Option<&[u8]> {
        match &self.nodes[self.find(path)?] {
            Node::File { live, .. } => Some(live),
            Node::Dir | Node::Fifo => None,
        }
    }

    /// What is in a directory.
    pub fn list(&self, dir: &str) -> Vec<String> {
        let Some(dir) = self.find(dir.as_ref()) else { return Vec::new() };
        self.names.keys().filter(|(parent, _)| *parent == dir).map(|(_, name)| name.to_string_lossy().into()).collect()
    }

    fn name(&self, path: &Path) -> io::Result<Name> {
        let parent = self.find(path.parent().unwrap()).ok_or(Errno::NOENT)?;
        Ok((parent, path.file_name().unwrap().to_owned()))
    }

    fn make(&mut self, path: &Path, node: Node) -> io::Result<Inode> {
        let name = self.name(path)?;
        if self.names.contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        self.nodes.push(node);
        let inode = self.nodes.len() - 1;
        self.change(None, Some((name, inode)));
        Ok(inode)
    }

    fn change(&mut self, removes: Option<Name>, adds: Option<(Name, Inode)>) {
        let change = Change { removes, adds, durable: false };
        apply(&mut self.names, &change);
        self.changes.push(change);
    }
}

pub fn apply(names: &mut BTreeMap<Name, Inode>, change: &Change) {
    if let Some(name) = &change.removes {
        names.remove(name);
    }
    if let Some((name, inode)) = &change.adds {
        names.insert(name.clone(), *inode);
    }
}

impl Disk for Fake {
    type File = Inode;

    fn create(&self, path: &Path) -> io::Result<Inode> {
        self.operation(format!("create {}", path.display()))?;
        let empty = Node::File { live: Vec::new(), durable: Vec::new(), spoilt: false };
        self.state.borrow_mut().make(path, empty)
    }

    fn write(&self, file: &mut Inode, bytes: &[u8]) -> io::Result<()> {
        let allowed = self.operation(format!("write {file}"));
        let written = if allowed.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        match &mut self.state.borrow_mut().nodes[*file] {
            Node::File { live, .. } => live.extend_from_slice(written),
            other => panic!("written to: {other:?}"),
        }
        allowed.map(|_| ())
    }

    fn sync(&self, file: &Inode) -> io::Result<()> {
        let allowed = self.operation(format!("fsync {file}"));
        match &mut self.state.borrow_mut().nodes[*file] {
            Node::File { spoilt, .. } if allowed.is_err() => *spoilt = true,
            Node::File { live, durable, spoilt: false } => durable.clone_from(live),
            _ => {}
        }
        allowed.map(|_| ())
    }

    fn rename(&self, from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
        self.operation(format!("rename {} {}", from.display(), to.display()))?;
        let mut state = self.state.borrow_mut();
        let (from, to) = (state.name(from)?, state.name(to)?);
        let inode = *state.names.get(&from).ok_or(Errno::NOENT)?;
        if flags.contains(RenameFlags::NOREPLACE) && state.names.contains_key(&to) {
            return Err(Errno::EXIST.into());
        }
        state.change(Some(from), Some((to, inode)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation(format!("unlink {}", path.display()))?;
        let mut state = self.state.borrow_mut();
        let name = state.name(path)?;
        state.names.get(&name).ok_or(Errno::NOENT)?;
        state.change(Some(name), None);
        Ok(())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.operation(format!("mkdir {}", dir.display()))?;
        self.state.borrow_mut().make(dir, Node::Dir).map(|_| ())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operation(format!("fsync {}", dir.display()))?;
        let mut state = self.state.borrow_mut();
        let dir = state.find(dir).ok_or(Errno::NOENT)?;
        for change in state.changes.iter_mut().filter(|change| change.touches(dir)) {
            change.durable = true;
        }
        Ok(())
    }
}
