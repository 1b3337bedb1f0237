//! What must hold of a deed, however the machine crashes and whatever fails.

use super::{
    fake::{Failing, Fake, State},
    images::images,
};
use rustix::io::Errno;
use std::io;

/// What is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Old,
    New,
    /// Neither.
    Torn(String),
}

/// Something that is done to a file system.
pub struct Scene<'a> {
    pub name: &'static str,
    pub start: fn() -> Fake,
    pub deed: &'a dyn Fn(&Fake) -> io::Result<()>,
    pub judge: &'a dyn Fn(&State) -> Seen,
    /// Once it is live nobody minds where it is after a crash, as long as it is.
    pub may_move_back: bool,
}

const ERRORS: [Errno; 3] = [Errno::NOSPC, Errno::IO, Errno::ROFS];
/// A disk that never comes back by itself.
const EVER: usize = usize::MAX;

impl Scene<'_> {
    fn ensure(&self, when: &str, state: &State, new: bool) -> Result<usize, String> {
        let images = images(state);
        for image in &images {
            match (self.judge)(image) {
                Seen::Torn(found) => return Err(format!("{}: {when}: torn: {found}", self.name)),
                Seen::Old if new => return Err(format!("{}: {when}: it was said to be durable", self.name)),
                Seen::Old | Seen::New => {}
            }
        }
        Ok(images.len())
    }

    fn ensure_history(&self, fake: &Fake) -> Result<usize, String> {
        let history = fake.history.borrow();
        history.iter().try_fold(0, |sum, (what, state)| Ok(sum + self.ensure(&format!("before {what}"), state, false)?))
    }

    /// Done again, on a disk that works: everything is as it should be.
    fn ensure_again(&self, when: &str, fake: &Fake) -> Result<(), String> {
        fake.failing.set(None);
        let was_new = (self.judge)(&fake.state.borrow()) == Seen::New;
        match (self.deed)(fake) {
            Ok(()) => {}
            // The answer to who wants to make what is there.
            Err(e) if was_new && matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                return Ok(());
            }
            Err(e) => return Err(format!("{}: {when}: it cannot be done again: {e}", self.name)),
        }
        self.ensure(&format!("{when}, done again"), &fake.state.borrow(), true).map(|_| ())
    }

    /// Every crash image after every prefix of its operations; how many there are.
    pub fn survives_crashes(&self) -> Result<usize, String> {
        let fake = (self.start)();
        (self.deed)(&fake).map_err(|e| format!("{}: {e}", self.name))?;
        let mut sum = self.ensure_history(&fake)?;
        sum += self.ensure("at the end", &fake.state.borrow(), true)?;
        let mut states: Vec<State> = fake.history.take().into_iter().map(|(_, state)| state).collect();
        states.push(fake.state.into_inner());
        for image in states.iter().flat_map(images) {
            self.ensure_again("after a crash", &Fake::of(image))?;
        }
        Ok(sum)
    }

    /// Every operation fails, once or from then on; how many runs that makes.
    pub fn survives_failures(&self) -> Result<usize, String> {
        let whole = (self.start)();
        (self.deed)(&whole).map_err(|e| format!("{}: {e}", self.name))?;
        let mut runs = 0;
        for first in 0..whole.history.borrow().len() {
            for (errno, last) in ERRORS.iter().flat_map(|errno| [(*errno, first), (*errno, first + 1), (*errno, EVER)])
            {
                self.survives(Failing { first, last, errno })?;
                runs += 1;
            }
        }
        Ok(runs)
    }

    fn survives(&self, failing: Failing) -> Result<(), String> {
        let fake = (self.start)();
        fake.failing.set(Some(failing));
        let when = format!("{failing:?}");
        for _attempt in 0..if failing.last == EVER { 3 } else { 1 } {
            let done = (self.deed)(&fake);
            self.ensure_history(&fake)?;
            let new = done.is_ok() && !self.may_move_back;
            self.ensure(&format!("{when}, {done:?}"), &fake.state.borrow(), new)?;
            match (self.judge)(&fake.state.borrow()) {
                Seen::Torn(found) => return Err(format!("{}: {when}: live: {found}", self.name)),
                Seen::Old if done.is_ok() => return Err(format!("{}: {when}: said to be done", self.name)),
                Seen::Old | Seen::New => {}
            }
        }
        let left = temporaries(&fake);
        if failing.first == failing.last && !left.is_empty() {
            return Err(format!("{}: {when}: left behind: {left:?}", self.name));
        }
        self.ensure_again(&when, &fake)
    }
}

fn temporaries(fake: &Fake) -> Vec<String> {
    fake.state.borrow().list("/d").into_iter().filter(|name| name.contains('~')).collect()
}
