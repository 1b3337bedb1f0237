//! The same for several containers at once. None waits for another one that is stuck.

use crate::{
    daemon::{Connection, Daemon, unexpected},
    failure::Failure,
    output,
};
use sexton_common::{
    ContainerId,
    wire::{Reply, Request},
};
use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Requests under way at the same time: a stop may take its full time-out, and sextond serves a bounded number.
const AT_ONCE: usize = 64;

/// The exit code of several attempts: 0 if none failed, their code if all that failed agree, else 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codes(Option<u8>);

impl Codes {
    /// One more.
    pub fn add(&mut self, code: u8) {
        self.0 = match self.0 {
            _ if code == 0 => self.0,
            Some(other) if other != code => Some(1),
            _ => Some(code),
        };
    }

    /// See the type.
    pub fn code(self) -> u8 {
        self.0.unwrap_or(0)
    }
}

/// Asks for each container, prints the id of each that was done in the order given, complains about each other and goes
/// on. Returns the exit code.
///
/// # Errors
/// If sextond cannot be reached at all, or standard output is closed.
pub fn each(
    daemon: &Daemon,
    ids: &[ContainerId],
    within: Duration,
    request: impl Fn(&ContainerId) -> Request + Sync,
) -> Result<u8, Failure> {
    each_of(daemon, ids, within, request, |connection| done(connection, within), |id, ()| output::line(id))
}

/// That it was done.
fn done(connection: &mut Connection, within: Duration) -> Result<(), Failure> {
    match connection.receive(within)? {
        Reply::Done {} | Reply::Container(_) => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// The same with an answer of any kind: `receive` takes it from the connection, `tell` says what it is.
///
/// # Errors
/// If sextond cannot be reached at all, or `tell` fails.
pub fn each_of<T: Send>(
    daemon: &Daemon,
    ids: &[ContainerId],
    within: Duration,
    request: impl Fn(&ContainerId) -> Request + Sync,
    receive: impl Fn(&mut Connection) -> Result<T, Failure> + Sync,
    mut tell: impl FnMut(&ContainerId, T) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut codes = Codes::default();
    let mut early: Vec<Option<Result<T, Failure>>> = ids.iter().map(|_| None).collect();
    let mut next = 0;
    let ask = |id: &ContainerId| receive(&mut asked(daemon, &request(id), within)?);
    as_they_end(ids, ask, |index, answer| {
        if let Err(failure @ (Failure::NotRunning(_) | Failure::Denied(_))) = answer {
            return Err(failure);
        }
        early[index] = Some(answer);
        while let Some(answer) = early.get_mut(next).and_then(Option::take) {
            let id = &ids[next];
            next += 1;
            match answer {
                Ok(answer) => tell(id, answer)?,
                Err(failure) => {
                    codes.add(failure.exit_code(false));
                    output::complain(naming(id, &failure));
                }
            }
        }
        Ok(())
    })?;
    Ok(codes.code())
}

/// Asks for each, and says what came of it as soon as that is known: with its place in `ids`.
///
/// # Errors
/// The first of `tell`; what is under way by then is waited for, nothing else is begun.
pub fn as_they_end<T: Send>(
    ids: &[ContainerId],
    ask: impl Fn(&ContainerId) -> Result<T, Failure> + Sync,
    mut tell: impl FnMut(usize, Result<T, Failure>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (answers, answered) = mpsc::sync_channel(AT_ONCE);
        for _ in 0..ids.len().min(AT_ONCE) {
            let (answers, next, ask) = (answers.clone(), &next, &ask);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(id) = ids.get(index) else { return };
                    if answers.send((index, ask(id))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(answers);
        answered.into_iter().try_for_each(|(index, answer)| tell(index, answer))
    })
}

/// Has it done for one. Blocks at most `within`, and a moment.
///
/// # Errors
/// If it was not done.
pub fn one(daemon: &Daemon, request: &Request, within: Duration) -> Result<(), Failure> {
    done(&mut asked(daemon, request, within)?, within)
}

fn asked(daemon: &Daemon, request: &Request, within: Duration) -> Result<Connection, Failure> {
    let mut connection = daemon.connect()?;
    connection.send(request, &[], within)?;
    Ok(connection)
}

/// The failure, with the container's id if it does not say it.
pub fn naming(id: &ContainerId, failure: &Failure) -> String {
    let text = failure.to_string();
    if text.contains(id.as_str()) { text } else { format!("{id}: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use sexton_common::wire::{ApiError, ErrorCode};
    use std::sync::{Arc, Mutex};

    #[test]
    fn one_failure_does_not_keep_the_others_from_being_done() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let seen = done.clone();
        let fake = Fake::start(move |request| match request {
            Request::Remove { id, force: true } if id.as_str() == "c2" => {
                vec![Reply::Error(ApiError::new(ErrorCode::NoSuchContainer, "no"))]
            }
            Request::Remove { id, force: true } => {
                seen.lock().unwrap().push(id.to_string());
                vec![Reply::Done {}]
            }
            _ => vec![],
        });
        let ids: Vec<ContainerId> = (0..100).map(|n| format!("c{n}").parse().unwrap()).collect();
        let code =
            each(&fake.daemon(), &ids, Duration::from_secs(10), |id| Request::Remove { id: id.clone(), force: true });
        assert_eq!(code.unwrap(), ErrorCode::NoSuchContainer.exit_code());
        assert_eq!(done.lock().unwrap().len(), 99);
    }

    #[test]
    fn answers_are_told_in_the_order_given() {
        let (later, first) = mpsc::channel::<()>();
        let first = Mutex::new(Some(first));
        let ids: Vec<ContainerId> = ["a", "b", "c"].map(|id| id.parse().unwrap()).to_vec();
        let fake = Fake::start(|_| vec![Reply::Done {}]);
        let later = Mutex::new(Some(later));
        // "a" hears its answer only after the others have had theirs.
        let waits = |connection: &mut Connection| {
            connection.receive(Duration::from_secs(10))?;
            Ok(std::time::Instant::now())
        };
        let mut told = Vec::new();
        let request = |id: &ContainerId| {
            match id.as_str() {
                "a" => drop(first.lock().unwrap().take().unwrap().recv()),
                "c" => drop(later.lock().unwrap().take()),
                _ => {}
            }
            Request::Start { id: id.clone() }
        };
        each_of(&fake.daemon(), &ids, Duration::from_secs(10), request, waits, |id, _| {
            told.push(id.to_string());
            Ok(())
        })
        .unwrap();
        assert_eq!(told, ["a", "b", "c"]);
    }

    #[test]
    fn nothing_else_is_begun_once_nobody_listens() {
        let ids: Vec<ContainerId> = (0..1000).map(|n| format!("c{n}").parse().unwrap()).collect();
        let asked = AtomicUsize::new(0);
        let ask = |_: &ContainerId| {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        assert!(matches!(as_they_end(&ids, ask, |_, _| Err(Failure::Closed)), Err(Failure::Closed)));
        assert!(asked.load(Ordering::Relaxed) < 1000);
    }

    #[test]
    fn failures_that_agree_have_their_code() {
        let of = |codes: &[u8]| {
            let mut all = Codes::default();
            codes.iter().for_each(|code| all.add(*code));
            all.code()
        };
        assert_eq!([of(&[]), of(&[0]), of(&[3, 0, 3]), of(&[3, 9]), of(&[3, 9, 3]), of(&[0, 9])], [0, 0, 3, 1, 1, 9]);
    }

    #[test]
    fn messages_name_the_container_once() {
        let id = "c1".parse().unwrap();
        assert_eq!(naming(&id, &Failure::TimedOut("no".into())), "c1: no");
        assert_eq!(naming(&id, &Failure::TimedOut("there is no c1".into())), "there is no c1");
    }
}
