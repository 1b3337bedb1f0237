//! Signals by name and number.

use nix::sys::signal::Signal;

/// The first real-time signal that the C library leaves to programs.
///
/// glibc's value, as Docker takes it too; it does not depend on the C library that this program was built with.
const RTMIN: i32 = 34;
/// The last one.
const RTMAX: i32 = 64;

/// The number of a signal: `TERM`, `SIGTERM`, `term`, `15`, `RTMIN+3`, `RTMAX-1`.
pub fn parse(text: &str) -> Result<i32, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    number(name).or_else(|| real_time(name)).or_else(|| named(name)).ok_or_else(|| {
        format!("{text:?} is not a signal: use a name as TERM or SIGTERM, RTMIN+1, or a number from 1 to {RTMAX}")
    })
}

fn number(text: &str) -> Option<i32> {
    digits(text).filter(|number| (1..=RTMAX).contains(number))
}

fn digits(text: &str) -> Option<i32> {
    // Not "+5", which parse() would take.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn real_time(name: &str) -> Option<i32> {
    let offset = |rest: &str, sign: char| if rest.is_empty() { Some(0) } else { digits(rest.strip_prefix(sign)?) };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(rest, '+')?)?
    } else {
        RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

fn named(name: &str) -> Option<i32> {
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        other => other,
    };
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// The usual name of a signal: `SIGTERM`, `SIGRTMIN+3`, or its number if it has none.
pub fn name(number: u8) -> String {
    let number = i32::from(number);
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if (RTMIN..=RTMAX).contains(&number) => format!("SIGRTMIN+{}", number - RTMIN),
        Err(_) => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_sig_in_any_case() {
        for (text, expected) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("Kill", 9),
            ("9", 9),
            ("64", 64),
            ("CLD", 17),
            ("CHLD", 17),
            ("IOT", 6),
            ("POLL", 29),
            ("SIGWINCH", 28),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmin+30", 64),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("rtmax-30", 34),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal() {
        for text in [
            "", "0", "65", "-9", "+9", "9x", "SIG", "TERMS", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMAX-31", "RTMIN+",
            " 9",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse("RTMIN+99999999999").is_err());
    }

    #[test]
    fn numbers_have_names() {
        assert_eq!(name(15), "SIGTERM");
        assert_eq!(name(34), "SIGRTMIN+0");
        assert_eq!(name(33), "signal 33");
        for number in 1..=64 {
            assert!(parse(&name(number)).is_ok() || number == 32 || number == 33);
        }
    }
}
