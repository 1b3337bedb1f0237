//! Plain programs that cannot be executed: 127 if they are not there, 126 if they are no programs, and nothing left.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus, Source,
    launch::Mode,
    wire::{ErrorCode, EventKind, Request, State},
};
use sexton_tests::{Node, run, skipped};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

/// What to run, what that ends with, and a part of what is said.
fn programs(node: &Node) -> Vec<(&'static str, String, u8, &'static str)> {
    let file = |name: &str, text: &str, mode: u32| -> PathBuf {
        let [path, draft] = ["", ".draft"].map(|end| node.dir().join(format!("{name}{end}")));
        fs::write(&draft, text).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(mode)).unwrap();
        node.copy(&draft, &path);
        path
    };
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let link = node.dir().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    vec![
        ("nowhere", "no-such-program".into(), 127, "not found in its PATH"),
        ("no-file", "/no/such/program".into(), 127, "No such file"),
        ("no-dir", text(file("plain", "", 0o644).join("x")), 127, "Not a directory"),
        ("dangling", text(link), 127, "No such file"),
        // As for a shell: what the kernel misses is the interpreter.
        ("interpreter", text(file("interpreter", "#!/no/such/shell\n", 0o755)), 127, "interpreter"),
        ("directory", text(node.dir().into()), 126, "Permission denied"),
        ("not-executable", text(file("no-program", "exit 0\n", 0o644)), 126, "is it an executable file?"),
        ("no-format", text(file("format", "exit 0\n", 0o755)), 126, "Exec format error"),
        ("empty", text(file("nothing", "", 0o755)), 126, "is it an executable file?"),
    ]
}

#[test]
fn by_a_shim_alone() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    for (name, program, code, words) in programs(&node) {
        let id = node.id(name);
        let ended = run(node.shim_alone("run", &id).args(["--", &program]));
        node.assert_failed(&ended, i32::from(code), words);
        assert!(ended.stderr.contains(&program), "{ended:?}");
    }
    let ended = run(node.shim_alone("run", &node.id("cwd")).args(["--cwd", "/nonexistent", "--", "true"]));
    node.assert_failed(&ended, 125, "/nonexistent");
    node.finish();
}

#[test]
fn in_the_foreground_and_detached() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for (name, program, code, words) in programs(&node) {
        let id = node.id(name);
        for options in [&[][..], &["-d"], &["--rm"]] {
            let ended = node.sexton_program("run", &id, options, &[&program]);
            assert_eq!((ended.code(), ended.stdout.as_str()), (i32::from(code), ""), "{ended:?}");
            assert!(ended.stderr.contains(words) && ended.stderr.contains(&program), "{ended:?}");
        }
    }
    assert_eq!(node.list(true), []);
    node.assert_clean();
    node.finish();
}

/// What is created can be refused only when it is started: then its process ends by that code itself.
#[test]
fn when_it_is_started() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    for (name, program, code, words) in programs(&node) {
        let id = node.id(name);
        node.launch_program(&id, Mode::Create, &[&program], |_| ()).unwrap();
        let refused = node.ask(&Request::Start { id: id.clone() }).unwrap_err();
        assert_eq!((refused.code, refused.exit_code), (ErrorCode::RuntimeFailed, code), "{refused:?}");
        assert!(refused.message.contains(words) && refused.message.contains(&program), "{refused:?}");
        let info = node.wait(&id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(code)), Some(Source::Waited)));
        events.wait(&id, EventKind::Stopped);
        assert_eq!(node.inspect(&id).state, State::Stopped);
    }
    let id = node.id("cli");
    let _ = node.sexton_program("create", &id, &[], &["no-such-program"]).ok();
    let ended = node.sexton(&["start", id.as_str()]);
    assert!(ended.code() != 0 && ended.stderr.contains("no-such-program: not found"), "{ended:?}");
    drop(events);
    node.finish();
}
