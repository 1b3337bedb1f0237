//! A container as clients see it.

use super::task::Task;
use sexton_common::wire::ContainerInfo;

/// The longest text on what is in the way; a container's entry stays small.
const REASON: usize = 1024;
/// The most of a command that is shown, so that it fits into a frame whatever its characters.
const COMMAND: usize = 4096;

impl Task {
    /// Everything about it.
    pub fn info(&self) -> ContainerInfo {
        let (launch, _) = self.both();
        let record = self.verdict.as_ref().map(|verdict| &verdict.record);
        let ran = record.and_then(|r| Some(r.exited?.boot_ns.saturating_sub(r.started?.boot_ns)));
        let started_at = match record {
            Some(record) => record.started,
            None => self.started,
        };
        ContainerInfo {
            id: self.held.id.clone(),
            generation: launch.generation,
            state: self.machine.shown(),
            pid: self.held.process.map(|process| process.pid),
            shim_pid: Some(launch.shim.pid),
            status: record.map(|record| record.status),
            source: record.map(|record| record.source),
            oom_killed: record.and_then(|record| record.oom_killed),
            created_at: launch.created.wall,
            started_at: started_at.map(|stamp| stamp.wall),
            exited_at: record.and_then(|record| record.exited).map(|stamp| stamp.wall),
            ran_ns: ran,
            bundle: launch.workload.bundle().map(Into::into).unwrap_or_default(),
            runtime: launch.workload.runtime().map(|runtime| runtime.program.clone()).unwrap_or_default(),
            auto_remove: launch.auto_remove,
            foreign: self.held.is_foreign,
            attempts: self.attempts,
            in_the_way: self.in_the_way.as_deref().map(shorten),
            usage: record.and_then(|record| record.usage),
            memory_peak: record.and_then(|record| record.memory_peak),
            cpu_ns: record.and_then(|record| record.cpu_ns),
            started_ns: started_at.map(|stamp| stamp.boot_ns),
            command: launch.workload.program().map(|program| shown(&program.command)).unwrap_or_default(),
            restart: None,
        }
    }
}

/// Its first words, as many as there is room for.
fn shown(command: &[String]) -> Vec<String> {
    let mut room = COMMAND;
    let mut words = Vec::new();
    for word in command {
        let end = (0..=word.len().min(room)).rev().find(|&end| word.is_char_boundary(end)).unwrap_or(0);
        // A word is more than its bytes in JSON.
        room = room.saturating_sub(end + 4);
        words.push(word.get(..end).unwrap_or_default().to_owned());
        if end < word.len() || room == 0 {
            words.push("...".into());
            break;
        }
    }
    words
}

fn shorten(text: &str) -> String {
    text.chars().take(REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_common::workload::Program;

    #[test]
    fn whatever_the_command_is_it_fits() {
        let words = |words: &[&str]| shown(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["sh", "-c", "", "a b"]), ["sh", "-c", "", "a b"]);
        let cut = words(&["a", &"ü".repeat(4096), "b"]);
        assert_eq!((cut.len(), cut[2].as_str()), (3, "..."));
        for worst in [
            vec!["\u{1}".repeat(Program::BYTES)],
            vec![String::new(); Program::BYTES],
            vec!["x".into(); Program::BYTES],
        ] {
            let json = serde_json::to_string(&shown(&worst)).unwrap();
            assert!(json.len() <= 25 * 1024, "{}", json.len());
            assert!(json.ends_with("\"...\"]"));
        }
    }
}
