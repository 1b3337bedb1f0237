use super::*;
use crate::gc::fixture::{Cgroups, Running, wait_for};

/// In v1, where that has it, and in v2.
#[test]
fn ones_own_freezer_and_not_the_one_above() {
    for hierarchy in ["freezer", ""] {
        let Some(above) = Cgroups::new(&[hierarchy]) else { return };
        let below = above.below("own");
        let own = std::slice::from_ref(&below);
        assert!(has_freezer(own), "{hierarchy:?}");
        let _running = Running::sleep(std::slice::from_ref(&below.dir));
        for _ in 0..3 {
            assert!(!is_frozen(own));
            set_frozen(own, true).unwrap();
            wait_for("it is frozen", || is_frozen(own));
            set_frozen(own, false).unwrap();
            wait_for("it is thawed", || !is_frozen(own));
        }
        set_frozen(&above.0, true).unwrap();
        wait_for("the one above is frozen", || is_frozen(&above.0));
        assert!(!is_frozen(own), "by another's freezer");
        set_frozen(&above.0, false).unwrap();
    }
}

#[test]
fn who_has_none_is_told_so() {
    let Some(other) = Cgroups::new(&["pids"]) else { return };
    assert!(!has_freezer(&other.0) && !is_frozen(&other.0));
    assert!(!has_freezer(&[]) && !is_frozen(&[]));
    assert!(set_frozen(&other.0, true).unwrap_err().contains("freezer"));
    let gone = CgroupDir { hierarchy: "freezer".into(), dir: "/sys/fs/cgroup/freezer/no-such".into() };
    assert!(!has_freezer(&[gone]));
}
