//! `version`.

use crate::{
    args::own_version,
    daemon::{Daemon, SIMPLE},
    failure::Failure,
    output,
};
use clap::Args;
use sexton_common::wire::{Reply, Request};

/// `sexton version`.
#[derive(Debug, Args)]
pub struct Version {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Version {
    /// Prints both releases; that sextond does not run is no error here.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let answer = daemon.ask(&Request::Version {}, SIMPLE);
        let (version, protocol) = own_version();
        if self.json {
            let sextond = match &answer {
                Ok(Reply::Version { version, protocol, pid }) => {
                    serde_json::json!({"version": version, "protocol": protocol, "pid": pid})
                }
                _ => serde_json::Value::Null,
            };
            let own = serde_json::json!({"version": version, "protocol": protocol});
            output::json_to_read(&serde_json::json!({"sexton": own, "sextond": sextond}))?;
            return Ok(0);
        }
        output::line(format_args!("sexton   {version} (protocol {protocol})"))?;
        output::line(match answer {
            Ok(Reply::Version { version, protocol, pid }) => {
                format!("sextond  {version} (protocol {protocol}, pid {pid})")
            }
            Ok(other) => return Err(crate::daemon::unexpected(&other)),
            Err(Failure::NotRunning(_)) => "sextond  is not running".into(),
            Err(failure) => format!("sextond  {failure}"),
        })?;
        Ok(0)
    }
}
