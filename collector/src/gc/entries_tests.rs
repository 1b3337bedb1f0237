use super::*;
use sexton_common::{
    ProcessIdentity, Stamp,
    cleanup::Cleanup,
    gc::{Estate, GcOrigin, Step},
    identity::BootId,
    launch::{Mode, OnShimDeath, Origin, Stdio},
    restart::RestartPolicy,
    runtime::Runtime,
    workload::Workload,
};

fn entry(id: &str, generation: u64) -> Entry {
    let estate = Estate::bare(id.parse().unwrap(), generation, BootId::current().unwrap());
    Entry {
        estate,
        origin: GcOrigin::Container,
        since: Stamp::now(),
        attempts: 1,
        step: Step::Files,
        in_the_way: "x".into(),
        commands_done: 0,
        devices: Vec::new(),
        remove: false,
    }
}

fn launch(id: &str, generation: u64, shim: ProcessIdentity) -> Launch {
    Launch {
        id: id.parse().unwrap(),
        generation,
        workload: Workload::Oci { bundle: "/b".into(), runtime: Runtime::default() },
        stdio: Stdio::Null,
        mode: Mode::Run,
        auto_remove: false,
        on_shim_death: OnShimDeath::Adopt,
        shim,
        origin: Origin::Sexton,
        cgroups: Vec::new(),
        created: Stamp::now(),
        cleanup: Cleanup::default(),
        restart: RestartPolicy::No,
        timeout_ms: Launch::TIMEOUT_MS,
    }
}

fn data() -> (tempfile::TempDir, Layout) {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout::new(root.path().join("state"), root.path().join("data"));
    fs::create_dir_all(layout.gc()).unwrap();
    fs::create_dir_all(layout.lasting()).unwrap();
    (root, layout)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_found_again_and_goes_once() {
    let (_root, layout) = data();
    let entries = Entries::new(layout.clone());
    let (first, changed) = (entry("a", 1), Entry { attempts: 7, ..entry("a", 1) });
    entries.write(&first).unwrap();
    entries.write(&changed).unwrap();
    entries.write(&entry("b", 1)).unwrap();
    assert_eq!(names(&layout.gc()), ["a", "b"], "one file a run, however often it is written");
    let later = Entries::new(layout.clone());
    let mut found = later.load().unwrap().entries;
    found.sort_by(|a, b| a.estate.id.as_str().cmp(b.estate.id.as_str()));
    assert_eq!(found[0], changed);
    assert_eq!(found.len(), 2);
    later.remove(&("a".parse().unwrap(), 1)).unwrap();
    later.remove(&("a".parse().unwrap(), 1)).unwrap();
    assert_eq!(names(&layout.gc()), ["b"]);
}

#[test]
fn two_runs_of_one_name_do_not_overwrite_each_other() {
    let (_root, layout) = data();
    let entries = Entries::new(layout.clone());
    entries.write(&entry("a", 1)).unwrap();
    entries.write(&entry("a", 2)).unwrap();
    entries.write(&Entry { attempts: 9, ..entry("a", 2) }).unwrap();
    assert_eq!(names(&layout.gc()), ["a", "a@2"]);
    let later = Entries::new(layout.clone());
    assert_eq!(later.load().unwrap().entries.len(), 2);
    later.remove(&("a".parse().unwrap(), 1)).unwrap();
    later.write(&entry("a", 2)).unwrap();
    assert_eq!(names(&layout.gc()), ["a@2"], "it keeps its file");
}

#[test]
fn what_does_not_decode_is_kept_aside_and_the_others_are_found() {
    let (_root, layout) = data();
    Entries::new(layout.clone()).write(&entry("good", 1)).unwrap();
    fs::write(layout.gc().join("bad"), "rubbish").unwrap();
    fs::write(layout.gc().join("good~1-0"), "half a fact").unwrap();
    fs::create_dir(layout.lasting().join("torn")).unwrap();
    fs::write(layout.lasting().join("torn/launch"), "rubbish").unwrap();
    fs::create_dir(layout.lasting().join("empty")).unwrap();
    fs::create_dir(layout.lasting().join("strange")).unwrap();
    fs::write(layout.lasting().join("strange/file"), "somebody's").unwrap();
    let found = Entries::new(layout.clone()).load().unwrap();
    assert_eq!((found.entries.len(), found.launches.len()), (1, 0));
    assert_eq!(names(&layout.gc()), ["good"]);
    assert_eq!(names(&layout.lasting()), ["strange"], "the names of the others are free");
    assert_eq!(names(&layout.data_quarantine()), ["containers.torn.launch.0", "gc.bad.0"]);
    assert_eq!(fs::read(layout.data_quarantine().join("gc.bad.0")).unwrap(), b"rubbish");
}

#[test]
fn launches_that_outlive_a_reboot_are_found_and_go_with_their_run_alone() {
    let (_root, layout) = data();
    let (alive, dead) = (ProcessIdentity::of(std::process::id()).unwrap(), ProcessIdentity::gone(1).unwrap());
    let put = |dir: ContainerDir, launch: &Launch| {
        fs::create_dir(dir.path()).unwrap();
        durable::write(&dir.launch(), launch).unwrap();
    };
    let a = launch("a", 3, alive);
    put(layout.lasting_container(&a.id), &a);
    put(layout.lasting_unborn(4_000_001), &launch("unborn", 1, dead));
    put(layout.lasting_unborn(4_000_002), &launch("being-made", 1, alive));
    put(layout.lasting_buried(&"gone".parse().unwrap(), 9), &launch("gone", 9, dead));
    let entries = Entries::new(layout.clone());
    assert_eq!(entries.load().unwrap().launches, [a]);
    assert_eq!(names(&layout.lasting()), ["a", "~new-4000002"], "what nobody finishes goes");
    entries.remove(&("a".parse().unwrap(), 4)).unwrap();
    assert_eq!(names(&layout.lasting()), ["a", "~new-4000002"], "another run's");
    entries.remove(&("a".parse().unwrap(), 3)).unwrap();
    assert_eq!(names(&layout.lasting()), ["~new-4000002"]);
}

#[test]
fn the_data_directory_may_have_any_name() {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout::new(root.path().join("state"), root.path().join("~data"));
    fs::create_dir_all(layout.gc()).unwrap();
    let entries = Entries::new(layout.clone());
    entries.write(&entry("c", 7)).unwrap();
    let found = Entries::new(layout.clone()).load().unwrap();
    assert_eq!(found.entries, [entry("c", 7)].map(|e| Entry { since: found.entries[0].since, ..e }));
    assert!(layout.gc_entry(&"c".parse().unwrap()).exists());
}

#[test]
fn what_is_no_launch_is_in_nobody_s_way() {
    let (_root, layout) = data();
    let lasting = layout.lasting();
    fs::write(lasting.join("a-file"), "words").unwrap();
    fs::write(lasting.join("no id"), "words").unwrap();
    std::os::unix::fs::symlink("/nowhere", lasting.join("link")).unwrap();
    let shim = ProcessIdentity::of(std::process::id()).unwrap();
    let dir = layout.lasting_container(&"c".parse().unwrap());
    fs::create_dir(dir.path()).unwrap();
    durable::write(&dir.launch(), &launch("c", 3, shim)).unwrap();
    let fifo = layout.lasting_container(&"fifo".parse().unwrap());
    fs::create_dir(fifo.path()).unwrap();
    nix::unistd::mkfifo(&fifo.launch(), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fs::create_dir(layout.gc().join("directory")).unwrap();
    let found = Entries::new(layout.clone()).load().unwrap();
    assert_eq!(found.launches.iter().map(|launch| launch.generation).collect::<Vec<_>>(), [3]);
    assert!(found.entries.is_empty());
    let left = names(&lasting);
    assert!(["a-file", "c", "link", "no id"].iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
    assert!(!left.contains(&"fifo".to_owned()), "{left:?}");
    assert!(names(&layout.gc()).is_empty());
    assert_eq!(names(&layout.data_quarantine()).len(), 2, "the FIFO and the directory are kept");
}
