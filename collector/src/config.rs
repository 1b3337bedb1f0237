//! The configuration: file, then environment, then flags.

mod restart;

use crate::{
    instance::Rules,
    node::{NodeFile, Watermarks},
};
use clap::Parser;
use restart::RestartFile;
use serde::{Deserialize, Deserializer, de::Error as _};
use sexton_common::{Layout, identity::BootId};
use std::{fs, io, path::PathBuf, time::Duration};

/// Sexton's collector: delivers every container's exit status, exactly, and cleans up after it.
#[derive(Clone, Debug, Parser)]
#[command(name = "sextond", version)]
pub struct Args {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What dies with the machine [default: /run/sexton, or $SEXTON_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// What outlives a reboot [default: /var/lib/sexton, or $SEXTON_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, value_name = "LEVEL", env = "SEXTON_LOG")]
    pub log: Option<String>,
    /// Stay above a second sextond, restart it when it dies, and hold what it needs to know every exit all the same;
    /// for where no service manager does (systemd's descriptor store)
    #[arg(long)]
    pub keeper: bool,
    /// Print what this kernel can do, as JSON, and exit
    #[arg(long)]
    pub probe: bool,
}

/// The configuration file. Unknown keys are errors: a misspelt one would silently do nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    state_dir: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    log: Option<String>,
    shim: Option<PathBuf>,
    #[serde(deserialize_with = "duration")]
    launch_timeout: Option<Duration>,
    exit: ExitFile,
    restart: RestartFile,
    gc: GcFile,
    stats: StatsFile,
    node: NodeFile,
    kernel: KernelFile,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KernelFile {
    pidfd_info_exit: Option<bool>,
    boot_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StatsFile {
    #[serde(deserialize_with = "duration")]
    disk_timeout: Option<Duration>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GcFile {
    #[serde(deserialize_with = "duration")]
    command_timeout: Option<Duration>,
    runtime_roots: Option<Vec<PathBuf>>,
    cgroup_parents: Vec<PathBuf>,
    mount_roots: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ExitFile {
    #[serde(deserialize_with = "duration")]
    deadline: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    backoff_first: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    backoff_max: Option<Duration>,
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration = humantime::parse_duration(&text).map_err(|e| D::Error::custom(format!("{text:?}: {e}")))?;
    if duration.is_zero() { Err(D::Error::custom("a duration of zero")) } else { Ok(Some(duration)) }
}

/// What the collector runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything lies.
    pub layout: Layout,
    /// The log filter.
    pub log: String,
    /// `sexton-shim`.
    pub shim: PathBuf,
    /// What each step of the runtime's may take when something is launched or started.
    pub launch_timeout: Duration,
    /// What an attempt to clean up may take.
    pub deadline: Duration,
    /// Whether the kernel may be asked how a process ended that somebody else reaped, if it can tell.
    pub pidfd_info_exit: bool,
    /// The delay after the first failed attempt.
    pub backoff_first: Duration,
    /// The longest delay.
    pub backoff_max: Duration,
    /// When containers with a restart policy come back.
    #[allow(dead_code, reason = "its first reader is about to come")]
    pub restart: Rules,
    /// What a clean-up command may take.
    pub command_timeout: Duration,
    /// What counting one container's files may take.
    pub disk_timeout: Duration,
    /// Where what nobody owns any more is looked for.
    pub scan: ScanConfig,
    /// When this node is full.
    pub node: Watermarks,
    /// Taken for this boot's id, so that tests can have a reboot.
    pub boot_id: Option<BootId>,
}

/// Where what nobody owns any more is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanConfig {
    /// `--root` directories of runtimes.
    pub runtime_roots: Vec<PathBuf>,
    /// Cgroups, as paths in their hierarchies, whose children are containers'.
    pub cgroup_parents: Vec<PathBuf>,
    /// Directories below which mounts are containers'.
    pub mount_roots: Vec<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two values that do not go together.
    #[error("exit.backoff_first ({first:?}) is longer than exit.backoff_max ({max:?})")]
    Backoff {
        /// The first delay.
        first: Duration,
        /// The longest delay.
        max: Duration,
    },
    /// Numbers for restarts that make no sense.
    #[error("{0}")]
    Restart(String),
    /// Two roots in one place.
    #[error("{} cannot be both state_dir and data_dir: what is in one dies with the machine, what is in the other outlives it", .0.display())]
    OneRoot(PathBuf),
    /// Not a boot id.
    #[error("kernel.boot_id {0:?} is not a boot id: see /proc/sys/kernel/random/boot_id")]
    BootId(String),
    /// Watermarks that do not go together.
    #[error("{0}")]
    Watermarks(String),
    /// A place that is too wide.
    #[error("gc: {} is not an absolute path below the root", .0.display())]
    Root(PathBuf),
    /// The file makes no sense.
    #[error("the configuration {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// From the file that `args` names, the environment and `args`, the later ones winning.
    ///
    /// # Errors
    /// If the file cannot be read or understood.
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        let file = match &args.config {
            None => File::default(),
            Some(path) => {
                let text =
                    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                toml::from_str(&text).map_err(|e| ConfigError::Parse { path: path.clone(), source: Box::new(e) })?
            }
        };
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let first = file.exit.backoff_first.unwrap_or(Duration::from_secs(1));
        let max = file.exit.backoff_max.unwrap_or(Duration::from_secs(300));
        if first > max {
            return Err(ConfigError::Backoff { first, max });
        }
        let state = args.state_dir.clone().or_else(|| set(Layout::STATE_ENV)).or(file.state_dir);
        let data = args.data_dir.clone().or_else(|| set(Layout::DATA_ENV)).or(file.data_dir);
        let layout = Layout::resolve(state, data);
        if layout.state() == layout.data() {
            return Err(ConfigError::OneRoot(layout.state().into()));
        }
        Ok(Self {
            layout,
            log: args.log.clone().or(file.log).unwrap_or_else(|| "info".into()),
            shim: file.shim.unwrap_or_else(default_shim),
            launch_timeout: file.launch_timeout.unwrap_or(Duration::from_secs(120)),
            deadline: file.exit.deadline.unwrap_or(Duration::from_secs(10)),
            pidfd_info_exit: file.kernel.pidfd_info_exit.unwrap_or(true),
            backoff_first: first,
            backoff_max: max,
            restart: file.restart.rules()?,
            command_timeout: file.gc.command_timeout.unwrap_or(Duration::from_secs(60)),
            disk_timeout: file.stats.disk_timeout.unwrap_or(Duration::from_secs(10)),
            scan: scan(file.gc)?,
            node: file.node.watermarks().map_err(ConfigError::Watermarks)?,
            boot_id: file
                .kernel
                .boot_id
                .map(|text| text.parse().map_err(|()| ConfigError::BootId(text)))
                .transpose()?,
        })
    }
}

fn scan(file: GcFile) -> Result<ScanConfig, ConfigError> {
    let usual = || ["/run/runc", "/run/crun", "/run/youki"].map(PathBuf::from).to_vec();
    let scan = ScanConfig {
        runtime_roots: file.runtime_roots.unwrap_or_else(usual),
        cgroup_parents: file.cgroup_parents,
        mount_roots: file.mount_roots,
    };
    let all = || scan.runtime_roots.iter().chain(&scan.cgroup_parents).chain(&scan.mount_roots);
    // The whole of a hierarchy, or of the mount table, is never one engine's.
    match all().find(|path| !path.is_absolute() || path.components().count() < 2) {
        Some(path) => Err(ConfigError::Root(path.clone())),
        None => Ok(scan),
    }
}

/// Beside our own binary, where packages and builds put it, else in `PATH`.
fn default_shim() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let dir = own.parent().map(PathBuf::from).unwrap_or_default();
    let places = [dir.join("sexton-shim"), dir.join("../libexec/sexton/sexton-shim")];
    places.into_iter().find(|place| place.is_file()).unwrap_or_else(|| "sexton-shim".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let args = ["sextond", "--config", file.path().to_str().unwrap(), "--data-dir", "/d"];
        Config::load(&Args::parse_from(args))
    }

    #[test]
    fn flags_win_over_the_file() {
        let text = "state_dir = '/s'\ndata_dir = '/file'\nlaunch_timeout = '3s'\n[exit]\nbackoff_first = '20ms'\n";
        let config = load(text).unwrap();
        assert_eq!(config.layout, Layout::new("/s".into(), "/d".into()));
        assert_eq!(config.launch_timeout, Duration::from_secs(3));
        assert_eq!(config.backoff_first, Duration::from_millis(20));
        assert_eq!(config.deadline, Duration::from_secs(10));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, word) in [
            ("colour = 'red'", "colour"),
            ("[exit]\nbackof = '1s'", "backof"),
            ("launch_timeout = 'soon'", "soon"),
            ("launch_timeout = '0s'", "zero"),
            ("[exit]\nbackoff_first = '10m'", "longer"),
            ("[restart]\nfirst = '10m'", "restart.max"),
            ("= 3", "configuration"),
            ("[gc]\ncgroup_parents = ['/']", "absolute"),
            ("[gc]\nmount_roots = ['x']", "absolute"),
            ("[kernel]\nboot_id = 'x'", "boot id"),
            ("state_dir = '/d'", "both"),
            ("[node]\nmemory_high = '1MiB'\nmemory_low = '1GiB'", "node.memory_low"),
            ("[node]\nmemory_hihg = '1MiB'", "memory_hihg"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_packaged_example_is_valid() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/sextond.toml.example");
        if let Ok(text) = fs::read_to_string(example) {
            let config = load(&text).unwrap();
            assert_eq!(config.restart, Rules::default(), "everything in it is the default");
        }
    }
}
