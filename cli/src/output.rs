//! Standard output and standard error, which may be closed at any time.

use crate::failure::{Failure, system};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// Prints one line, at once.
pub fn line(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::Closed,
        _ => system("write to standard output")(e),
    })
}

/// Prints a value as one line of JSON.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(value).map_err(system("write JSON"))?)
}

/// Prints a value as JSON: indented for a person, one line for a program.
pub fn json_to_read(value: &impl Serialize) -> Result<(), Failure> {
    if terminal() { line(serde_json::to_string_pretty(value).map_err(system("write JSON"))?) } else { json(value) }
}

/// Tells a person something on standard error.
pub fn complain(text: impl Display) {
    let text = text.to_string();
    let lines: Vec<_> = text.split('\n').map(plain).collect();
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "sexton: {}", lines.join("\n"));
}

/// Tells a person who sits there what takes its time.
pub fn progress(text: impl Display) {
    if !cfg!(test) && io::stderr().is_terminal() {
        complain(text);
    }
}

/// The text with its control characters spelt out: names of processes and files are chosen by those who run in
/// containers, and are not to speak to anybody's terminal.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Whether a person reads: not in tests, whose expectations must not depend on who runs them.
pub fn terminal() -> bool {
    !cfg!(test) && io::stdout().is_terminal()
}

/// Whether colour is wanted: on a terminal, unless `NO_COLOR` is set to something.
pub fn colour() -> bool {
    terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_speaks_to_the_terminal() {
        assert_eq!(plain("dd (über) \"x\" \\"), "dd (über) \"x\" \\");
        assert_eq!(plain("a\u{1b}[2J\r\n\t\0\u{9b}\u{7f}"), "a\\u{1b}[2J\\r\\n\\t\\u{0}\\u{9b}\\u{7f}");
    }
}
