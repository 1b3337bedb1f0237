//! Processes that do nothing until they are told to end: children of one, made by forking alone.

use crate::{helper::helper, node::Node};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// All of them, and their parent; all are gone when it is dropped.
#[derive(Debug)]
pub(super) struct Processes {
    parent: Child,
    words: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

impl Processes {
    /// So many, and their pids.
    pub(super) fn new(node: &Node, count: usize) -> (Self, Vec<u32>) {
        let mut command = Command::new(helper("crowd"));
        command.arg(count.to_string()).env("SEXTON_TEST_NODE", node.prefix());
        let mut parent = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(parent.stdout.take().unwrap());
        let pids = (0..count).map(|_| line(&mut said).parse().unwrap()).collect();
        let words = Mutex::new(Some((parent.stdin.take().unwrap(), said)));
        (Self { parent, words }, pids)
    }

    /// Their parent.
    pub(super) fn shim(&self) -> u32 {
        self.parent.id()
    }

    /// One ends with this code; returns when it is a zombie.
    pub(super) fn end(&self, pid: u32, code: u8) {
        self.ask(&format!("end {pid} {code}"));
    }

    /// One that has ended is reaped.
    pub(super) fn reap(&self, pid: u32) {
        self.ask(&format!("reap {pid}"));
    }

    fn ask(&self, wish: &str) {
        let mut words = self.words.lock().unwrap();
        let (stdin, stdout) = words.as_mut().unwrap();
        writeln!(stdin, "{wish}").unwrap();
        assert_eq!(line(stdout), "ok", "{wish}");
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // A test that panicked with them drops them all the same.
        *self.words.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.parent.wait();
    }
}

fn line(said: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
