//! How long starting a container takes, against the runtime alone.

use comfy_table::{Table, presets};
use serde::Serialize;
use sexton_tests::{Bundle, Node, run};
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

/// The figures, in milliseconds.
#[derive(Debug, Serialize)]
pub struct Start {
    n: u32,
    contestants: Vec<Contestant>,
}

#[derive(Debug, Serialize)]
struct Contestant {
    name: &'static str,
    median_ms: f64,
    p90_ms: f64,
    min_ms: f64,
    ratio: f64,
}

/// The contestants take turns, so that a machine that becomes slower does so for all.
pub fn measure(n: u32) -> Start {
    let mut node = Node::new();
    let bundle = Bundle::new(&node, "start").args(&["/bin/true"]).write();
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..n {
        let id = node.id(&format!("runtime-{turn}"));
        let before = Instant::now();
        let mut create = node.runc("create", &["--bundle", bundle.to_str().unwrap(), id.as_str()]);
        let created = create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(created.success());
        let _ = run(&mut node.runc("start", &[id.as_str()])).ok();
        times[0].push(before.elapsed());
        let _ = run(&mut node.runc("delete", &["--force", id.as_str()])).ok();

        let id = node.id(&format!("sexton-{turn}"));
        let before = Instant::now();
        let _ = run(&mut node.shim_command("run", id.as_str(), &bundle)).ok();
        times[1].push(before.elapsed());
        let _ = node.sexton(&["wait", id.as_str()]).ok();
        let _ = node.sexton(&["rm", id.as_str()]).ok();
    }
    node.terminate_daemon();
    let floor = quantile(&mut times[0], 0.5);
    let names = ["runc create + runc start", "sexton-shim run, sextond up"];
    let contestants = names.into_iter().zip(&mut times).map(|(name, times)| {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let median = quantile(times, 0.5);
        Contestant {
            name,
            median_ms: ms(median),
            p90_ms: ms(quantile(times, 0.9)),
            min_ms: ms(quantile(times, 0.0)),
            ratio: median.as_secs_f64() / floor.as_secs_f64(),
        }
    });
    Start { n, contestants: contestants.collect() }
}

fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort();
    let index = (q * (times.len() - 1) as f64).round() as usize;
    times[index]
}

impl Start {
    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["START", "MEDIAN", "P90", "MIN", "RATIO", "N"]);
        for c in &self.contestants {
            let ms = |ms: f64| format!("{ms:.1} ms");
            let ratio = format!("{:.2}", c.ratio);
            table.add_row([c.name.to_owned(), ms(c.median_ms), ms(c.p90_ms), ms(c.min_ms), ratio, self.n.to_string()]);
        }
        table
    }
}
