use super::*;
use crate::gc::{obstacle::Holder, shown::shown};
use sexton_common::{ProcessIdentity, cleanup::Cleanup, durable, gc::GcOrigin, wire::MAX_FRAME};

#[test]
fn however_much_is_in_the_way_an_answer_has_it() {
    let holder = Holder {
        process: ProcessIdentity::of(std::process::id()).unwrap(),
        how: "in cgroup ".to_owned() + &"/\u{e9}".repeat(100_000),
        frozen_by: Some("\\".repeat(4096).into()),
        mount_ns: None,
    };
    let obstacle = Obstacle {
        holders: vec![holder; Obstacle::HOLDERS],
        ..Obstacle::new(Step::Processes, "\u{20ac}".repeat(100_000))
    };
    let shown = shown(&obstacle, WallTime::now());
    assert!(!shown.holders.is_empty());
    assert!(serde_json::to_vec(&shown).unwrap().len() < MAX_FRAME * 3 / 4);
}

#[test]
fn however_much_is_learned_the_entry_can_be_written() {
    let cleanup = Cleanup { exec: vec!["x".repeat(super::super::added::MOST - 100)], ..Cleanup::default() };
    let estate = Estate { cleanup, ..Estate::bare("c".parse().unwrap(), 1, BootId::current().unwrap()) };
    let ward = Ward::new(entry(estate, GcOrigin::Container), false);
    let device =
        |n: u32| Device { major: u32::MAX, minor: n, fs: "tmpfs".into(), source: "x".repeat(n as usize % 500) };
    assert!(ward.remember((0..5000).map(device).collect()));
    let kept = ward.lock().entry.devices.len();
    assert!(kept > 50 && !ward.remember((0..10).map(device).collect()), "{kept} are known already");
    ward.delayed(Obstacle::new(Step::Mounts, "é".repeat(5000)));
    durable::encode(&ward.lock().entry).unwrap();
}

#[test]
fn only_what_is_new_is_written() {
    let estate = Estate::bare("c".parse().unwrap(), 1, BootId::current().unwrap());
    let entry = entry(estate, GcOrigin::Added);
    assert!(Ward::new(entry.clone(), false).unwritten().is_some());
    let ward = Ward::new(entry, true);
    assert!(ward.unwritten().is_none());
    let mut writes = Vec::new();
    for attempts in 1..=20 {
        ward.lock().entry.attempts = attempts;
        if let Some(entry) = ward.unwritten() {
            writes.push(entry.attempts);
            ward.lock().written = Some(Box::new(entry));
        }
    }
    assert_eq!(writes, [1, 2, 4, 8, 16]);
    ward.lock().entry.remove = true;
    assert!(ward.unwritten().is_some_and(|entry| entry.remove && entry.attempts == 20));
}
