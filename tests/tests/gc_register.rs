//! What may be registered for clean-up, by whom, and when it is left alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus,
    cleanup::Cleanup,
    launch::Mode,
    wire::{ErrorCode, State},
};
use sexton_tests::{
    Bundle, Node, Options,
    gc_things::{alone, mounted, must, patient, tmpfs},
    leftovers, run, skipped,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn node(config: String) -> Node {
    Node::with(Options { config, ..Options::default() })
}

/// One of each kind, in a directory of its own.
struct Things(PathBuf);

impl Things {
    fn new(node: &Node, name: &str) -> Self {
        let dir = node.dir().join(name);
        fs::create_dir_all(dir.join("path/deep")).unwrap();
        fs::write(dir.join("path/deep/file"), "").unwrap();
        fs::write(dir.join("netns"), "").unwrap();
        must(Command::new("unshare").arg(format!("--net={}", dir.join("netns").display())).arg("true"));
        tmpfs(&dir.join("mount"));
        Self(dir)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn command(&self) -> String {
        format!("echo \"$SEXTON_ID $SEXTON_STATUS\" >> {}", self.at("ran"))
    }

    fn options(&self) -> Vec<String> {
        let all = [
            ("path", self.at("path")),
            ("mount", self.at("mount")),
            ("netns", self.at("netns")),
            ("exec", self.command()),
        ];
        all.into_iter().map(|(kind, what)| format!("--cleanup-{kind}={what}")).collect()
    }

    #[track_caller]
    fn assert_there(&self) {
        assert!(self.0.join("path/deep/file").exists() && !self.0.join("ran").exists());
        assert_eq!((mounted(&self.0.join("mount")), mounted(&self.0.join("netns"))), (1, 1));
    }

    #[track_caller]
    fn assert_clean(&self, ran: &str) {
        assert_eq!(fs::read_to_string(self.0.join("ran")).unwrap_or_default(), ran);
        let mut left: Vec<_> = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["mount", "ran"]);
        assert_eq!((mounted(&self.0.join("mount")), mounted(&self.0.join("netns"))), (0, 0));
    }
}

#[test]
fn the_command_line_the_api_and_the_shim_register_alike() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let mut node = node(patient());
    let all = ["run", "create", "api", "shim", "alone"]
        .map(|name| (node.id(name), Things::new(&node, name), Bundle::new(&node, name)));
    let lasting = |node: &Node, id: &sexton_common::ContainerId| node.layout().lasting_container(id).launch().exists();
    let mut gates = Vec::new();
    let mut alone = None;
    for (id, things, bundle) in all {
        let (bundle, gate) = bundle.gated();
        let bundle = bundle.write();
        let name = id.as_str().rsplit('-').next().unwrap().to_owned();
        let options = things.options();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let by_shim = |node: &Node, bundle: &Path| {
            let mut shim = node.shim_command("run", id.as_str(), bundle);
            let _ = run(shim.arg("--data-dir").arg(node.layout().data()).args(&options)).ok();
        };
        match name.as_str() {
            "run" => drop(node.run_cli(&id, &bundle, &options)),
            "create" => {
                let _ = run(&mut node.cli(&["create"], &id, &bundle, &options)).ok();
                things.assert_there();
                let _ = node.sexton(&["start", id.as_str()]).ok();
            }
            "api" => {
                let [paths, mounts, netns] = ["path", "mount", "netns"].map(|name| vec![things.0.join(name)]);
                node.run_owning(&id, &bundle, Cleanup { paths, mounts, netns, exec: vec![things.command()] });
            }
            "shim" => by_shim(&node, &bundle),
            _ => {
                // Nobody is there who could clean: whoever comes does.
                node.terminate_daemon();
                by_shim(&node, &bundle);
                alone = Some(id.clone());
            }
        }
        things.assert_there();
        assert!(lasting(&node, &id), "{name}: durable before it is there");
        gates.push((id, things, gate));
    }
    let (id, things, gate) = gates.pop().unwrap();
    assert_eq!(alone.as_ref(), Some(&id));
    gate.exit(9);
    sexton_tests::wait_for("its record", sexton_tests::LONG, || node.record(&id).is_some());
    things.assert_there();
    node.start_daemon();
    gates.iter().for_each(|(_, _, gate)| gate.exit(9));
    gates.push((id, things, gate));
    for (id, things, _) in &gates {
        let info = node.wait_state(id, State::Stopped);
        assert_eq!((info.status, info.attempts), (Some(ExitStatus::Code(9)), 0), "{info:?}");
        things.assert_clean(&format!("{id} 9\n"));
        assert!(!lasting(&node, id));
    }
    node.finish();
}

#[test]
fn what_cannot_be_registered_is_refused_by_everybody_alike() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let node = node(patient());
    let (id, bundle) = (node.id("c"), Bundle::new(&node, "b").sleeping().write());
    let own = node.layout().containers().join("x").display().to_string();
    let many: Vec<&str> = std::iter::repeat_n(["--cleanup-exec", "true"], Cleanup::MOST + 1).flatten().collect();
    let cases: [(&[&str], &str); 7] = [
        (&["--cleanup-path", "/etc"], "--cleanup-path /etc: a directory of the top level cannot be cleaned up"),
        (&["--cleanup-path", "/"], "--cleanup-path /: the root directory cannot be cleaned up"),
        (&["--cleanup-mount", "/a/../b"], "--cleanup-mount /a/../b: '..' is not allowed in it"),
        (&["--cleanup-netns", "/run"], "--cleanup-netns /run: a directory of the top level"),
        (&["--cleanup-path", &own], "Sexton's own files are there"),
        (&["--cleanup-exec", " "], "--cleanup-exec"),
        (&many, "at most 64 things"),
    ];
    for (options, words) in cases {
        let ended = run(&mut node.cli(&["run", "-d"], &id, &bundle, options));
        assert_eq!(ended.code(), 125, "{ended:?}");
        assert!(ended.stderr.contains(words), "{words:?} is not in {ended:?}");
        let mut shim = node.shim_command("run", id.as_str(), &bundle);
        let ended = run(shim.arg("--data-dir").arg(node.layout().data()).args(options));
        assert_eq!(ended.code(), 125, "{ended:?}");
        assert!(ended.stderr.contains(words), "{words:?} is not in {ended:?}");
        let mut request = node.launch_request(&id, &bundle, Mode::Run);
        for pair in options.chunks(2) {
            let (cleanup, what) = (&mut request.cleanup, pair[1]);
            match pair[0] {
                "--cleanup-path" => cleanup.paths.push(what.into()),
                "--cleanup-mount" => cleanup.mounts.push(what.into()),
                "--cleanup-netns" => cleanup.netns.push(what.into()),
                _ => cleanup.exec.push(what.into()),
            }
        }
        let error = node.launch(request).unwrap_err();
        assert_eq!((error.code, error.exit_code), (ErrorCode::Invalid, 125), "{error:?}");
        assert!(error.message.contains(words), "{words:?} is not in {error:?}");
        node.assert_clean();
    }
    assert_eq!(node.list(true), []);
    node.finish();
}

/// Whoever asked for a launch that fails has all of it still.
#[test]
fn a_launch_that_fails_cleans_nothing_that_was_registered() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let node = node(patient());
    let (file, ran) = (node.dir().join("file"), node.dir().join("ran"));
    fs::write(&file, "").unwrap();
    let command = format!("touch {}", ran.display());
    let options = ["--cleanup-path", file.to_str().unwrap(), "--cleanup-exec", &command];
    let broken = Bundle::new(&node, "broken").write();
    fs::write(broken.join("config.json"), "{").unwrap();
    let cases = [
        (Bundle::new(&node, "missing").args(&["/no/such/program"]).write(), 127),
        (Bundle::new(&node, "denied").args(&["/etc"]).write(), 126),
        (broken, 125),
        (node.dir().join("bundles/not-there"), 125),
    ];
    for (bundle, code) in cases {
        let id = node.id("c");
        for _ in 0..2 {
            let ended = run(&mut node.cli(&["run", "-d"], &id, &bundle, &options));
            assert_eq!(ended.code(), code, "{ended:?}");
            let mut shim = node.shim_command("run", id.as_str(), &bundle);
            let ended = run(shim.arg("--data-dir").arg(node.layout().data()).args(options));
            assert_eq!(ended.code(), code, "{ended:?}");
        }
        assert_eq!(leftovers::entries(&node.layout().lasting()), Vec::<PathBuf>::new());
        node.assert_clean();
        assert!(file.exists() && !ran.exists());
    }
    node.finish();
}
