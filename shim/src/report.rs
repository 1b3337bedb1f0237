//! What the caller gets to see: one line of JSON, or why not.

use sexton_common::{ContainerId, ProcessIdentity, wire::Launched};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
};

/// The longest message in bytes.
const MAX_TEXT: usize = 32 * 1024;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// 125, 126 or 127, as `docker run` has them.
    pub code: u8,
    /// For people: the operation, the object, the way out.
    pub message: String,
}

impl Failure {
    /// Our own failure, or the user's.
    pub fn ours(message: impl Into<String>) -> Self {
        Self { code: 125, message: message.into() }
    }
}

/// Prints to stdout; the exit code.
pub fn print(text: &str) -> u8 {
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Ok(()) => 0,
        Err(_) => 125,
    }
}

/// Says why on stderr; the exit code.
pub fn failed(failure: &Failure) -> u8 {
    // In one write, so that the lines of several shims do not mix.
    let _ = std::io::stderr().write_all(format!("sexton-shim: {}\n", failure.message).as_bytes());
    failure.code
}

/// The shim's end of the channel to the first process.
#[derive(Debug)]
pub struct Teller(pub OwnedFd);

impl Teller {
    /// Says who we are, so that somebody can bury what we leave if we are killed in the middle.
    pub fn introduce(&self) {
        let _ = rustix::io::write(&self.0, &std::process::id().to_ne_bytes());
    }

    /// Tells the outcome. If nobody is there any more to hear it that is no harm.
    pub fn tell(self, outcome: &Result<Launched, Failure>) {
        let (code, text) = match outcome {
            Ok(launched) => (0, json(launched)),
            Err(failure) => (failure.code, failure.message.clone()),
        };
        let mut bytes = text.into_bytes();
        bytes.truncate(MAX_TEXT);
        let length = u32::try_from(bytes.len()).unwrap_or(0).to_ne_bytes();
        let message = [&[code][..], &length, &bytes].concat();
        let _ = File::from(self.0).write_all(&message);
    }
}

/// What the first process passed on.
#[derive(Debug)]
pub struct Passed {
    /// The exit code.
    pub code: u8,
    /// The shim, if it was killed before it said how it went.
    pub killed: Option<Killed>,
}

/// A shim as it was when it said who it is.
#[derive(Debug)]
pub struct Killed {
    /// Its pid.
    pub pid: u32,
    identity: Option<ProcessIdentity>,
}

impl Killed {
    /// Nobody has reaped it yet.
    pub fn has_its_pid(&self) -> bool {
        self.identity.is_some_and(|identity| matches!(identity.open(), Ok(Some(_))))
    }
}

/// Waits for the shim's word and passes it on.
pub fn answer_for(ear: OwnedFd, id: &ContainerId) -> Passed {
    let mut ear = File::from(ear);
    let shim = introduced(&mut ear);
    let heard = hear(ear);
    let killed = shim.filter(|_| heard.is_none());
    let code = match heard {
        Some((0, line)) if print(&format!("{line}\n")) == 0 => 0,
        // It is there all the same: who cannot be told must not believe that it failed for good.
        Some((0, _)) => failed(&Failure::ours(format!(
            "container {id} is launched, but stdout cannot be written: see `sexton inspect {id}`"
        ))),
        Some((code, message)) => failed(&Failure { code, message }),
        None => failed(&Failure::ours(format!(
            "the shim was killed while creating {id}: `sexton rm -f {id}` removes what is left of it"
        ))),
    };
    Passed { code, killed }
}

fn introduced(channel: &mut File) -> Option<Killed> {
    let mut pid = [0; 4];
    channel.read_exact(&mut pid).ok()?;
    let pid = u32::from_ne_bytes(pid);
    Some(Killed { pid, identity: ProcessIdentity::of(pid).ok() })
}

fn hear(channel: File) -> Option<(u8, String)> {
    let mut bytes = Vec::new();
    channel.take(MAX_TEXT as u64 + 5).read_to_end(&mut bytes).ok()?;
    let (&[code, a, b, c, d], text) = bytes.split_first_chunk::<5>()?;
    let whole = u32::from_ne_bytes([a, b, c, d]) as usize == text.len();
    whole.then(|| (code, String::from_utf8_lossy(text).into_owned()))
}

fn json(launched: &Launched) -> String {
    let Launched { id, generation, pid, shim_pid, exit_fifo, exit_file } = launched;
    let path = |path: &std::path::Path| quoted(&path.to_string_lossy());
    format!(
        "{{\"id\":{},\"generation\":{generation},\"pid\":{pid},\"shim_pid\":{shim_pid},\"exit_fifo\":{},\"exit_file\":{}}}",
        quoted(id.as_str()),
        path(exit_fifo),
        path(exit_file)
    )
}

/// A JSON string (RFC 8259, 7).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped() {
        let launched = Launched {
            id: "a".parse().unwrap(),
            generation: 7,
            pid: 1,
            shim_pid: 2,
            exit_fifo: "/a\"b\\c\n\u{1}ü".into(),
            exit_file: "/x".into(),
        };
        let expected =
            r#"{"id":"a","generation":7,"pid":1,"shim_pid":2,"exit_fifo":"/a\"b\\c\n\u0001ü","exit_file":"/x"}"#;
        assert_eq!(json(&launched), expected);
    }

    #[test]
    fn an_outcome_is_heard_whole_or_not_at_all() {
        let (ear, mouth) = rustix::pipe::pipe().unwrap();
        Teller(mouth).tell(&Err(Failure { code: 126, message: "no".into() }));
        assert_eq!(hear(ear.into()), Some((126, "no".to_owned())));
        let (ear, mouth) = rustix::pipe::pipe().unwrap();
        File::from(mouth).write_all(&[0, 9, 0, 0, 0, b'x']).unwrap();
        assert_eq!(hear(ear.into()), None);
    }

    /// Whatever is cut off or changed on the way is not taken for an outcome, and no length is believed.
    #[test]
    fn what_is_no_outcome_is_none() {
        let said = |bytes: &[u8]| {
            let (ear, mouth) = rustix::pipe::pipe().unwrap();
            File::from(mouth).write_all(bytes).unwrap();
            hear(ear.into())
        };
        let whole = [&[0u8][..], &4u32.to_ne_bytes(), b"word"].concat();
        assert_eq!(said(&whole), Some((0, "word".to_owned())));
        for end in 0..whole.len() {
            assert_eq!(said(&whole[..end]), None, "cut off at {end}");
        }
        for (at, bit) in (1..5).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert_eq!(said(&bytes), None, "bit {bit} of byte {at}");
        }
        assert_eq!(said(&[&[1][..], &u32::MAX.to_ne_bytes(), &[b'x'; 40_000]].concat()), None);
        let strange = [&[9][..], &3u32.to_ne_bytes(), &[0xff, 0xfe, 0]].concat();
        assert_eq!(said(&strange).map(|(code, _)| code), Some(9), "text that is none is text all the same");
    }
}
