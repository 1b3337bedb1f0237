//! What lies in memory is read at once, and only that.

use super::super::{TMPFS, encode, read, read_at_once, write};
use crate::{Stamp, launch::Clean};
use rustix::fs::{CWD, FileType, Mode, mknodat, statfs};
use std::{fs, path::Path};

#[test]
fn whole_facts_in_memory_and_nothing_else() {
    let fact = Clean { generation: 7, at: Stamp::now() };
    let places = [Path::new("/dev/shm").to_owned(), std::env::temp_dir()];
    for place in places.iter().filter(|place| place.is_dir()) {
        let dir = tempfile::tempdir_in(place).unwrap();
        let in_memory = statfs(dir.path()).unwrap().f_type == TMPFS;
        let path = dir.path().join("fact");
        assert!(read_at_once::<Clean>(&path).is_none(), "there is none");
        write(&path, &fact).unwrap();
        let known = read::<Clean>(&path).unwrap().map(|there| there.generation);
        let at_once = read_at_once::<Clean>(&path).map(|there| there.generation);
        assert_eq!((known, at_once), (Some(7), in_memory.then_some(7)), "{}", place.display());

        let bytes = encode(&fact).unwrap();
        for end in 0..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            assert!(read_at_once::<Clean>(&path).is_none(), "cut off at {end}");
        }
        fs::write(&path, [bytes.as_slice(), &[0; 4096]].concat()).unwrap();
        assert!(read_at_once::<Clean>(&path).is_none(), "longer than it says");
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        assert!(read_at_once::<Clean>(&path).is_none(), "a FIFO, whose writer nobody waits for");
        fs::remove_file(&path).unwrap();
        fs::write(dir.path().join("elsewhere"), &bytes).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(read_at_once::<Clean>(&path).is_none(), "a link");
    }
}
