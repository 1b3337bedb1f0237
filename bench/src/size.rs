//! What a shim costs while nothing happens.

use crate::usage::Usage;
use comfy_table::{Table, presets};
use serde::Serialize;
use sexton_tests::{Bundle, Node, binaries, proc, wait};
use std::{fs, time::Duration};

/// How long the shims are watched for wake-ups.
const WATCHED: Duration = Duration::from_secs(2);

/// The figures; memory in KiB, each the mean over all shims.
#[derive(Debug, Serialize)]
pub struct Size {
    shims: u32,
    files: Vec<(String, u64)>,
    rss_kib: f64,
    pss_kib: f64,
    private_dirty_kib: f64,
    page_tables_kib: f64,
    threads: u64,
    wake_ups: u64,
}

/// Starts real containers that sleep, and reads `/proc/PID/smaps_rollup` of their shims.
pub fn measure(shims: u32) -> Size {
    let mut node = Node::new();
    let bundle = Bundle::new(&node, "idle").sleeping().write();
    let launched: Vec<_> = (0..shims).map(|n| node.shim("run", &node.id(&format!("idle-{n}")), &bundle)).collect();
    let pids: Vec<u32> = launched.iter().map(|container| container.shim_pid).collect();
    let switches = || pids.iter().map(|&pid| number(&proc::status(pid, "voluntary_ctxt_switches"))).sum::<u64>();
    let before = switches();
    wait::observe(WATCHED);
    let wake_ups = switches() - before;

    let usages: Vec<Usage> = pids.iter().map(|&pid| Usage::of(pid)).collect();
    assert!(!usages.contains(&Usage::default()), "a shim is gone");
    let mean = |kib: fn(&Usage) -> u64| usages.iter().map(kib).sum::<u64>() as f64 / f64::from(shims);
    let size = Size {
        shims,
        files: [binaries::shim(), binaries::sextond(), binaries::sexton()]
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::metadata(&path).unwrap().len()))
            .into(),
        rss_kib: mean(|usage| usage.rss_kib),
        pss_kib: mean(|usage| usage.pss_kib),
        private_dirty_kib: mean(|usage| usage.private_dirty_kib),
        page_tables_kib: mean(|usage| usage.page_tables_kib),
        threads: usages.iter().map(|usage| usage.threads).max().unwrap_or(0),
        wake_ups,
    };
    for container in &launched {
        let _ = node.sexton(&["rm", "-f", container.id.as_str()]).ok();
    }
    node.terminate_daemon();
    size
}

fn number(text: &Option<String>) -> u64 {
    text.as_deref().and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

impl Size {
    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["WHAT", "FIGURE"]);
        for (name, bytes) in &self.files {
            table.add_row([format!("{name}, file"), format!("{:.0} KiB", *bytes as f64 / 1024.0)]);
        }
        let mut row =
            |what: &str, kib: f64| table.add_row([format!("{what} per shim"), format!("{kib:.1} KiB")]).is_empty();
        row("RSS", self.rss_kib);
        row("PSS", self.pss_kib);
        row("private dirty", self.private_dirty_kib);
        row("page tables", self.page_tables_kib);
        table.add_row(["threads per shim".into(), self.threads.to_string()]);
        let watched = format!("wake-ups of {} shims in {WATCHED:?}", self.shims);
        table.add_row([watched, self.wake_ups.to_string()]);
        table
    }
}
