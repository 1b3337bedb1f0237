//! The same request for several containers at once, the answers in the order given.

use crate::{
    daemon::{Connection, Daemon},
    failure::Failure,
    output,
};
use sexton_common::{
    ContainerId,
    wire::{Reply, Request},
};
use std::time::Duration;

/// Requests under way at the same time: a stop may take its full time-out, and sextond serves a bounded number.
const AT_ONCE: usize = 32;

/// Asks for each container, prints the id of each that was done, complains about each other and goes on.
/// Returns the exit code: 1 if one failed.
///
/// # Errors
/// If sextond cannot be reached at all, or standard output is closed.
pub fn each(
    daemon: &Daemon,
    ids: &[ContainerId],
    within: Duration,
    request: impl Fn(&ContainerId) -> Request,
) -> Result<u8, Failure> {
    let receive = |connection: &mut Connection| connection.receive(within);
    each_of(daemon, ids, within, request, receive, |id, reply| match reply {
        Reply::Done {} | Reply::Container(_) => output::line(id),
        other => Err(crate::daemon::unexpected(&other)),
    })
}

/// The same with an answer of any kind: `receive` takes it from the connection, `tell` says what it is.
///
/// # Errors
/// If sextond cannot be reached at all, or `tell` fails.
pub fn each_of<T>(
    daemon: &Daemon,
    ids: &[ContainerId],
    within: Duration,
    request: impl Fn(&ContainerId) -> Request,
    receive: impl Fn(&mut Connection) -> Result<T, Failure>,
    mut tell: impl FnMut(&ContainerId, T) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut failed = false;
    for some in ids.chunks(AT_ONCE) {
        let asked: Vec<_> = some.iter().map(|id| ask(daemon, &request(id), within)).collect();
        for (id, connection) in some.iter().zip(asked) {
            match connection.and_then(|mut connection| receive(&mut connection)) {
                Ok(answer) => tell(id, answer)?,
                Err(failure @ (Failure::NotRunning(_) | Failure::Denied(_))) => return Err(failure),
                Err(failure) => {
                    failed = true;
                    output::complain(naming(id, &failure));
                }
            }
        }
    }
    Ok(failed.into())
}

fn ask(daemon: &Daemon, request: &Request, within: Duration) -> Result<Connection, Failure> {
    let mut connection = daemon.connect()?;
    connection.send(request, &[], within)?;
    Ok(connection)
}

/// The failure, with the container's id if it does not say it.
fn naming(id: &ContainerId, failure: &Failure) -> String {
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
        let ids: Vec<ContainerId> = (0..40).map(|n| format!("c{n}").parse().unwrap()).collect();
        let code =
            each(&fake.daemon(), &ids, Duration::from_secs(10), |id| Request::Remove { id: id.clone(), force: true });
        assert_eq!(code.unwrap(), 1);
        assert_eq!(done.lock().unwrap().len(), 39);
    }

    #[test]
    fn messages_name_the_container_once() {
        let id = "c1".parse().unwrap();
        assert_eq!(naming(&id, &Failure::TimedOut("no".into())), "c1: no");
        assert_eq!(naming(&id, &Failure::TimedOut("there is no c1".into())), "there is no c1");
    }
}
