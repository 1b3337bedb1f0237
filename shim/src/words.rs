//! Why the runtime failed, in its own words.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// How much of the log's end is looked at.
const TAIL: u64 = 16 * 1024;

/// The message of the last error in the runtime's JSON log.
pub fn of_log(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    last_error(&String::from_utf8_lossy(&tail))
}

/// What was said on stderr, as one line or a few; `None` if that is nothing. It is in JSON too where the
/// runtime could not open its log.
pub fn of_output(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    last_error(&text).or_else(|| printable(&text))
}

fn printable(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|&c| c == '\n' || c == '\t' || !c.is_control()).collect();
    let plain = plain.trim();
    (!plain.is_empty()).then(|| plain.to_owned())
}

/// The exit code that `docker run` would have.
pub fn exit_code(words: &str) -> u8 {
    let words = words.to_lowercase();
    let has = |part: &str| words.contains(part);
    // "executable file not found" as Go says it, "executable file `x` not found" as crun does.
    let not_found = has("executable file not found") || (has("executable file `") && has("` not found"));
    let executing = has("exec: \"") || has("executable");
    if not_found || (executing && has("no such file or directory")) {
        127
    } else if executing && (has("permission denied") || has("is a directory")) {
        126
    } else {
        125
    }
}

/// Whether the runtime refused because somebody else's container has the id. Two of runc 1.1 at the same
/// moment stumble over each other's exec FIFO.
pub fn say_exists(words: &str) -> bool {
    let has = |part: &str| words.contains(part);
    has("container with id exists") || (has("already exists") && (has("container") || has("exec fifo")))
}

fn last_error(log: &str) -> Option<String> {
    log.lines().rev().find_map(|line| {
        let fields = strings(line)?;
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        (field("level") == Some("error")).then(|| field("msg").and_then(printable))?
    })
}

/// The string members of one flat JSON object; `None` if it is none.
fn strings(line: &str) -> Option<Vec<(String, String)>> {
    let mut rest = line.trim().strip_prefix('{')?.trim_start();
    let mut fields = Vec::new();
    while !rest.starts_with('}') {
        let (key, after) = string(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        if rest.starts_with('"') {
            let (value, after) = string(rest)?;
            fields.push((key, value));
            rest = after;
        } else {
            // A number or a word. Neither runtime nests anything in its log.
            let end = rest.find([',', '}'])?;
            rest = rest.get(end..)?;
        }
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(fields)
}

/// A JSON string (RFC 8259, 7) and what follows it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut plain = String::new();
    loop {
        match chars.next()? {
            '"' => return Some((plain, chars.as_str())),
            '\\' => plain.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => escaped(&mut chars)?,
                c @ ('"' | '\\' | '/') => c,
                _ => return None,
            }),
            c => plain.push(c),
        }
    }
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let first = hex(chars)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    // A character beyond 16 bits comes in two halves.
    let mut ahead = chars.clone();
    if (ahead.next(), ahead.next()) == (Some('\\'), Some('u'))
        && let Some(second) = hex(&mut ahead).filter(|second| (0xdc00..0xe000).contains(second))
    {
        *chars = ahead;
        return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
    }
    Some(char::REPLACEMENT_CHARACTER)
}

fn hex(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut number = 0;
    for _ in 0..4 {
        number = number * 16 + chars.next()?.to_digit(16)?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNC: &str = concat!(
        "{\"level\":\"warning\",\"msg\":\"odd\",\"time\":\"2026-11-21T09:48:04Z\"}\n",
        "{\"level\":\"error\",\"msg\":\"runc create failed: unable to start container process: exec: ",
        "\\\"nope\\\": executable file not found in $PATH\",\"time\":\"2026-11-21T09:48:04Z\"}\n"
    );

    #[test]
    fn runcs_words_are_found() {
        let words = last_error(RUNC).unwrap();
        assert!(words.ends_with("exec: \"nope\": executable file not found in $PATH"), "{words}");
        assert_eq!(exit_code(&words), 127);
    }

    #[test]
    fn the_last_error_counts_whatever_the_order_and_the_spaces() {
        let log = "garbage\n{\"msg\": \"first\", \"level\": \"error\"}\n{\"n\": 1 , \"msg\":\"a\\nb\\u00fc\\ud83d\\ude00\\/\", \"level\":\"error\"}\n\
                   {\"level\":\"info\",\"msg\":\"level error\"}\n{\"level\":\"error\",\"msg\":\"cut o";
        assert_eq!(last_error(log).unwrap(), "a\nbü😀/");
    }

    #[test]
    fn whatever_the_log_holds_nothing_panics() {
        for end in 0..RUNC.len() {
            let _ = last_error(&RUNC[..end]);
            let _ = last_error(&RUNC[end..]);
        }
        for odd in [
            "{",
            "{}",
            "{\"",
            "{\"a\":",
            "{\"a\":\"\\u12",
            "{\"a\":\"\\ud83d\\ud83d\"}",
            "{\"a\":\"\\ud83dx\"}",
            "{,}",
            "\\",
        ] {
            assert_eq!(last_error(odd), None);
        }
    }

    #[test]
    fn exit_codes_are_dockers() {
        for (words, code) in [
            ("exec: \"/nope\": stat /nope: no such file or directory", 127),
            ("executable file `nope` not found in $PATH: No such file or directory", 127),
            ("exec: \"/etc/passwd\": permission denied", 126),
            ("exec: \"/etc\": is a directory", 126),
            ("exec /x: open executable: Permission denied", 126),
            ("mkdir /sys/fs/cgroup/x: permission denied", 125),
            ("open config.json: no such file or directory", 125),
            ("", 125),
        ] {
            assert_eq!(exit_code(words), code, "{words}");
        }
    }

    #[test]
    fn somebody_elses_container_is_recognised() {
        for words in [
            "container with given ID already exists",
            "exec fifo /run/runc/web/exec.fifo already exists",
            "container `web` already exists",
        ] {
            assert!(say_exists(words), "{words}");
        }
        assert!(!say_exists("unable to start container process: exec: \"nope\": executable file not found in $PATH"));
    }

    #[test]
    fn what_was_said_is_made_printable() {
        assert_eq!(of_output(b" \x1b[31mno\x07\n\xff\n"), Some("[31mno\n\u{fffd}".to_owned()));
        assert_eq!(of_output(b"\n \x00"), None);
        assert_eq!(of_output(RUNC.as_bytes()), last_error(RUNC));
    }
}
