//! `gc add`.

use crate::{
    args,
    commands::{cleanup::CleanupOptions, launch::RuntimeOptions},
    daemon::{Daemon, SIMPLE},
    failure::Failure,
    output,
};
use clap::Args;
use sexton_common::{
    ContainerId,
    wire::{GcAddRequest, Request},
};
use std::path::PathBuf;

/// `sexton gc add`.
#[derive(Debug, Args)]
pub struct Add {
    /// The container's name in its runtime
    id: ContainerId,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// One of its processes: killed, with everything in its cgroups; may be repeated
    #[arg(long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(2..))]
    pids: Vec<u32>,
    /// Its bundle, if it matters: what is mounted below its root file system is unmounted
    #[arg(long, value_name = "DIR", value_parser = args::absolute)]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    cleanup: CleanupOptions,
}

impl Add {
    /// Hands it over to sextond and prints its name once that is durable.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let id = self.id.clone();
        daemon.done(&Request::GcAdd(self.request()), SIMPLE)?;
        output::line(id)?;
        Ok(0)
    }

    fn request(self) -> GcAddRequest {
        GcAddRequest {
            id: self.id,
            runtime: self.runtime.into(),
            pids: self.pids,
            bundle: self.bundle,
            cleanup: self.cleanup.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::execute;
    use crate::fake::Fake;
    use sexton_common::{
        cleanup::Cleanup,
        runtime::Runtime,
        wire::{ApiError, ErrorCode, GcAddRequest, Reply, Request},
    };
    use std::sync::{Arc, Mutex};

    #[test]
    fn options_become_a_request() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let fake = Fake::start(move |request| {
            let Request::GcAdd(request) = request else { return vec![] };
            seen.lock().unwrap().push(request);
            vec![Reply::Done {}]
        });
        assert_eq!(execute(&fake, "add c1").unwrap(), 0);
        let full = "add c2 --runtime crun --runtime-root r --runtime-arg --debug --pid 7 --pid 8 --bundle b \
            --cleanup-path p --cleanup-path /q --cleanup-mount m --cleanup-netns n --cleanup-exec true";
        assert_eq!(execute(&fake, full).unwrap(), 0);
        let here = |name: &str| std::env::current_dir().unwrap().join(name);
        let plain = GcAddRequest {
            id: "c1".parse().unwrap(),
            runtime: Runtime::default(),
            pids: Vec::new(),
            bundle: None,
            cleanup: Cleanup::default(),
        };
        let full = GcAddRequest {
            id: "c2".parse().unwrap(),
            runtime: Runtime { program: "crun".into(), root: Some(here("r")), args: vec!["--debug".into()] },
            pids: vec![7, 8],
            bundle: Some(here("b")),
            cleanup: Cleanup {
                paths: vec![here("p"), "/q".into()],
                mounts: vec![here("m")],
                netns: vec![here("n")],
                exec: vec!["true".into()],
            },
        };
        assert_eq!(*asked.lock().unwrap(), [plain, full]);
    }

    #[test]
    fn what_sextond_refuses_is_said() {
        let fake = Fake::start(|_| vec![Reply::Error(ApiError::new(ErrorCode::Invalid, "'..' is not allowed in it"))]);
        let failure = execute(&fake, "add c1 --cleanup-path ../x").unwrap_err();
        assert_eq!((failure.to_string().as_str(), failure.exit_code(false)), ("'..' is not allowed in it", 2));
    }
}
