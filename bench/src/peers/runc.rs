//! The bare runtime: what everybody's start is made of.

use super::{Engine, Home, Running, command::call_quietly};
use crate::{
    guest::{Guest, now},
    plan::Plan,
};
use sexton_common::ContainerId;
use std::{fs, path::Path};

/// See the module.
pub struct Runc {
    home: Home,
    at_once: bool,
}

impl Runc {
    /// `runc run -d`.
    pub fn run(plan: &Plan) -> Self {
        Self { home: Home::new(plan, false), at_once: true }
    }

    /// `runc create`, then `runc start`.
    pub fn create(plan: &Plan) -> Self {
        Self { home: Home::new(plan, false), at_once: false }
    }
}

impl Engine for Runc {
    fn home(&self) -> &Home {
        &self.home
    }

    fn run(&self, guest: &Guest) -> Running {
        let id = guest.id.as_str();
        let (verb, detach): (_, &[_]) = if self.at_once { ("run", &["-d"]) } else { ("create", &[]) };
        let mut first = self.home.runc(verb);
        first.args(detach).arg("--bundle").arg(&guest.bundle).arg(id);
        let asked = now();
        call_quietly(&mut first, || self.home.runc_words());
        if !self.at_once {
            self.home.call_runc("start", &[id]);
        }
        self.home.born(guest, asked, None, || init_of(&self.node().runtime_root().join(id)))
    }

    fn clean(&self, id: &ContainerId) {
        self.home.call_runc("delete", &[id.as_str()]);
    }

    fn remove(&self, id: &ContainerId) {
        self.home.remove(id);
    }
}

/// The container's init, from the runtime's state of it.
fn init_of(state: &Path) -> u32 {
    let text = fs::read_to_string(state.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    u32::try_from(state["init_process_pid"].as_u64().unwrap()).unwrap()
}
