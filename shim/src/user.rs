//! Who runs a program, as `/etc/passwd` and `/etc/group` say: a static program has no other way to know.

use rustix::{
    fs::{Gid, Uid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};
use std::{fs, io};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user as a process can be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    gid: u32,
    /// All of its groups.
    groups: Vec<u32>,
    /// Its name, home and shell, if it has an entry.
    entry: Option<[String; 3]>,
}

impl Who {
    /// The variables that a login has; without an entry only that there is no home.
    pub fn variables(&self) -> Vec<(&'static str, Option<&str>)> {
        match &self.entry {
            Some([name, home, shell]) => {
                vec![("HOME", Some(home)), ("USER", Some(name)), ("LOGNAME", Some(name)), ("SHELL", Some(shell))]
            }
            None => vec![("HOME", Some("/")), ("USER", None), ("LOGNAME", None), ("SHELL", None)],
        }
    }

    /// This process becomes that user, for good.
    pub fn become_it(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
        set_thread_groups(&groups)?;
        set_thread_gid(Gid::from_raw(self.gid))?;
        Ok(set_thread_uid(Uid::from_raw(self.uid))?)
    }
}

/// `NAME` or `UID`, with `:GROUP` or `:GID` if wanted. A number needs no entry; without one, and without a group, its group
/// has the same number.
pub fn find(text: &str) -> Result<Who, String> {
    let read = |path: &str| match fs::read_to_string(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(format!("--user {text}: read {path}: {e}")),
        read => Ok(read.unwrap_or_default()),
    };
    find_in(text, &read(PASSWD)?, &read(GROUP)?)
}

fn find_in(text: &str, passwd: &str, group: &str) -> Result<Who, String> {
    let (user, wanted) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let uid = number(user);
    let entry = passwd.lines().find_map(|line| {
        // Name, password, uid, gid, comment, home, shell.
        let mut fields = line.split(':');
        let (name, _, number_of_it) = (fields.next()?, fields.next()?, number(fields.next()?)?);
        let (gid, _, home) = (number(fields.next()?)?, fields.next()?, fields.next()?);
        let shell = fields.next().filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh");
        let is_it = name == user || uid == Some(number_of_it);
        is_it.then(|| (number_of_it, gid, [name, home, shell].map(str::to_owned)))
    });
    let (uid, usual, entry) = match (entry, uid) {
        (Some((uid, gid, entry)), _) => (uid, gid, Some(entry)),
        (None, Some(uid)) => (uid, uid, None),
        (None, None) => {
            return Err(format!("--user {text}: {PASSWD} has no user {user:?}: name another, or give a number"));
        }
    };
    let gid = match wanted {
        None => usual,
        Some(wanted) => {
            let named = groups(group).find(|(name, ..)| *name == wanted).map(|(_, gid, _)| gid);
            named.or_else(|| number(wanted)).ok_or_else(|| {
                format!("--user {text}: {GROUP} has no group {wanted:?}: name another, or give a number")
            })?
        }
    };
    let name = entry.as_ref().map(|[name, ..]| name.as_str());
    let is_in = |members: &str| members.split(',').any(|member| Some(member) == name);
    let mut all = vec![gid];
    for (_, other, _) in groups(group).filter(|(_, _, members)| is_in(members)) {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    Ok(Who { uid, gid, groups: all, entry })
}

/// Name, number, members.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, number(fields.next()?)?);
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

/// Digits only; the last one means "unchanged" to the kernel.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\n7:x:70:70::/seven:\nweb:x:33:33:w:/var/www:/bin/false\n";
    const GROUPS: &str = "root:x:0:\nwww:x:33:\nlog:x:4:adm,web\naudio:x:29:web\n55:x:66:\nbad\n";

    #[test]
    fn users_and_groups_are_found() {
        let of = |text: &str| find_in(text, USERS, GROUPS).map(|who| (who.uid, who.gid, who.groups));
        assert_eq!(of("root"), Ok((0, 0, vec![0])));
        assert_eq!(of("web"), Ok((33, 33, vec![33, 4, 29])));
        assert_eq!(of("33"), Ok((33, 33, vec![33, 4, 29])));
        assert_eq!(of("web:log"), Ok((33, 4, vec![4, 29])));
        assert_eq!(of("web:5"), Ok((33, 5, vec![5, 4, 29])));
        assert_eq!(of("1000"), Ok((1000, 1000, vec![1000])));
        assert_eq!(of("1000:log"), Ok((1000, 4, vec![4])));
        assert_eq!(of("7"), Ok((70, 70, vec![70])), "a name may be made of digits");
        assert_eq!(of("web:55").map(|(_, gid, _)| gid), Ok(66));
        for bad in ["nobody-here", "web:nope", "-1", "4294967295", "4294967296", "", "+1", "0x1", ":", "web:"] {
            assert!(of(bad).unwrap_err().contains("--user"), "{bad}");
        }
    }

    #[test]
    fn who_has_no_entry_has_no_home() {
        let who = find_in("1000", USERS, GROUPS).unwrap();
        assert_eq!(who.variables()[..2], [("HOME", Some("/")), ("USER", None)]);
        let who = find_in("7", USERS, GROUPS).unwrap();
        assert!(who.variables().contains(&("SHELL", Some("/bin/sh"))));
    }
}
