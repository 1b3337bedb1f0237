//! Fields of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// What a field says: the kernel writes blanks, tabs, newlines, backslashes and `#` as three octal digits.
#[must_use]
pub fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits = if *first == b'\\' { tail.get(..3).and_then(|d| std::str::from_utf8(d).ok()) } else { None };
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(byte);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    OsString::from_vec(out).into()
}
