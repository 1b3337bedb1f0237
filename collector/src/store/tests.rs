use super::*;
use sexton_common::{ProcessIdentity, identity::BootId};

fn identity(pid: u32, pidfs_inode: Option<u64>) -> ProcessIdentity {
    ProcessIdentity { pid, start_time: 36, boot_id: BootId([0; 16]), pidfs_inode }
}

fn there() -> Store {
    Store { state: Mutex::new(State { there: true, ..State::default() }), ..Store::default() }
}

#[test]
fn names_are_short_told_apart_and_known_again() {
    let names = [identity(35, None), identity(36, None), identity(35, Some(35)), identity(35, Some(u64::MAX))];
    let names = names.map(|identity| Name::of(&identity).to_string());
    assert_eq!(names, ["pz.10", "p10.10", "iz", "i3w5e11264sgsf"]);
    for name in names {
        assert_eq!(Name::parse(&name).unwrap().to_string(), name);
    }
    for bad in ["", "i", "p", "stored", "x1", "i1-a", "iA", "i:"] {
        assert_eq!(Name::parse(bad), None, "{bad}");
    }
}

#[test]
fn without_a_service_manager_nothing_is_kept() {
    let store = Store::default();
    store.keep(&Name::of(&identity(1, None)), std::io::stdin().as_fd());
    assert_eq!((store.len(), store.lock().pending.len()), (None, 0));
}

#[test]
fn there_is_an_end_to_what_can_be_passed_on() {
    let store = there();
    let all = 2 * NAMES as u64;
    for inode in 0..all {
        store.lock().pending.clear();
        store.keep(&Name::of(&identity(1, Some(inode))), std::io::stdin().as_fd());
    }
    let held = store.len().unwrap();
    let passed: usize = store.lock().held.iter().map(Name::cost).sum();
    assert!((10_000..30_000).contains(&held) && passed <= NAMES && passed == store.lock().length, "{held}, {passed}");
    // What was released makes room.
    let last = Name::of(&identity(1, Some(all)));
    store.release(&Name::of(&identity(1, Some(9_999))));
    store.release(&Name::of(&identity(1, Some(9_998))));
    store.keep(&last, std::io::stdin().as_fd());
    assert!(store.lock().held.contains(&last));
}

#[tokio::test]
async fn a_release_overtakes_what_was_not_told_yet() {
    let store = there();
    let name = Name::of(&identity(1, None));
    let (fd, _other) = std::io::pipe().unwrap();
    store.keep(&name, fd.as_fd());
    store.keep(&name, fd.as_fd());
    assert!(store.lock().pending[&name].is_some());
    store.release(&name);
    assert!(store.lock().pending[&name].is_none());
    // The keep was on its way when the release came: the release is still to be told.
    store.was_told(Some((name.clone(), true)), Ok(()));
    assert!(store.lock().pending.contains_key(&name));
    store.was_told(Some((name.clone(), false)), Ok(()));
    store.settled(&name).await;
    assert_eq!(store.len(), Some(0));
    store.release(&name);
    assert!(store.lock().pending.is_empty(), "it is not there: nothing to be told");
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_is_told_again_and_waited_for_once() {
    let store = there();
    let name = Name::of(&identity(1, None));
    store.keep(&name, std::io::stdin().as_fd());
    let begin = tokio::time::Instant::now();
    store.settled(&name).await;
    assert_eq!(begin.elapsed(), STORED_WITHIN);
    store.was_told(Some((name.clone(), true)), Err(io::ErrorKind::WouldBlock.into()));
    store.settled(&name).await;
    assert_eq!(begin.elapsed(), STORED_WITHIN, "it is known to be slow");
    assert!(store.lock().pending.contains_key(&name), "and will be told");
    store.was_told(Some((name.clone(), true)), Ok(()));
    assert!(!store.lock().failing && store.lock().pending.is_empty());
    store.say("READY=1".into());
    assert!(matches!(store.next(), Some(Next::Words(words)) if words == "READY=1"));
    store.is_lost();
    assert_eq!((store.len(), store.next().is_none()), (None, true));
}
