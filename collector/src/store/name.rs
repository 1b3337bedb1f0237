//! What stored descriptors are called.

use sexton_common::ProcessIdentity;
use std::{collections::VecDeque, fmt};

/// A stored descriptor's name: one for each run's init, which the pidfd itself identifies. As short as can be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

impl Name {
    /// For the init of a run.
    #[must_use]
    pub fn of(init: &ProcessIdentity) -> Self {
        Self(match init.pidfs_inode {
            Some(inode) => format!("i{}", short(inode)),
            None => format!("p{}.{}", short(init.pid.into()), short(init.start_time)),
        })
    }

    /// From the name in the store; `None` if it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['i', 'p'])?;
        let ours = !digits.is_empty() && digits.bytes().all(|c| c == b'.' || DIGITS.contains(&c));
        ours.then(|| Self(text.to_owned()))
    }

    /// Whatever somebody else has stored.
    #[must_use]
    pub fn foreign(text: String) -> Self {
        Self(text)
    }

    /// What it costs to pass it on.
    #[must_use]
    pub fn cost(&self) -> usize {
        // And the colon.
        self.0.len() + 1
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn short(mut number: u64) -> String {
    let mut digits = VecDeque::new();
    loop {
        let digit = usize::try_from(number % 36).unwrap_or(0);
        digits.push_front(char::from(DIGITS[digit]));
        number /= 36;
        if number == 0 {
            return digits.into_iter().collect();
        }
    }
}
