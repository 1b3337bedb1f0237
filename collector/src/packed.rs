//! Values of which there are thousands and of which few are looked at, packed: as bytes, and only what is not in the first of
//! them too. Containers of one node differ in little.

use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

/// Packs values of a type, and knows the first of them.
pub struct Packer<T> {
    first: OnceLock<Box<[u8]>>,
    of: PhantomData<fn(T) -> T>,
}

/// A packed value; a copy costs nothing.
pub struct Packed<T>(Content<T>);

enum Content<T> {
    Bytes(Arc<[u8]>),
    /// What cannot be written as bytes: a path that is no text.
    Whole(Arc<T>),
}

impl<T: Clone + Serialize + DeserializeOwned> Packer<T> {
    /// Packs it.
    #[must_use]
    pub fn pack(&self, value: &T) -> Packed<T> {
        Packed(match postcard::to_stdvec(value) {
            Ok(bytes) => {
                let first = self.first.get_or_init(|| bytes.clone().into());
                Content::Bytes(lz4_flex::block::compress_prepend_size_with_dict(&bytes, first).into())
            }
            Err(_) => Content::Whole(Arc::new(value.clone())),
        })
    }

    /// The value again. `None` of what this has not packed.
    #[must_use]
    pub fn unpack(&self, packed: &Packed<T>) -> Option<T> {
        match &packed.0 {
            Content::Bytes(bytes) => {
                let bytes = lz4_flex::block::decompress_size_prepended_with_dict(bytes, self.first.get()?).ok()?;
                postcard::from_bytes(&bytes).ok()
            }
            Content::Whole(value) => Some(T::clone(value)),
        }
    }
}

impl<T> Default for Packer<T> {
    fn default() -> Self {
        Self { first: OnceLock::new(), of: PhantomData }
    }
}

impl<T> Clone for Packed<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Content::Bytes(bytes) => Content::Bytes(bytes.clone()),
            Content::Whole(value) => Content::Whole(value.clone()),
        })
    }
}

impl<T> fmt::Debug for Packer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

impl<T> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Bytes(bytes) => write!(f, "Packed({} bytes)", bytes.len()),
            Content::Whole(_) => f.write_str("Packed(whole)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

    fn paths(id: usize) -> Vec<PathBuf> {
        let hierarchies = ["cpu", "memory", "pids", "freezer", "devices", "blkio", "cpuset"];
        hierarchies.iter().map(|name| format!("/sys/fs/cgroup/{name}/system.slice/c{id}").into()).collect()
    }

    #[test]
    fn each_comes_back_as_it_was_and_is_small_but_for_the_first() {
        let packer = Packer::default();
        let all: Vec<_> = (0..100).map(|id| packer.pack(&paths(id))).collect();
        for (id, packed) in all.iter().enumerate() {
            assert_eq!(packer.unpack(&packed.clone()), Some(paths(id)));
            let Content::Bytes(bytes) = &packed.0 else { panic!("{packed:?}") };
            assert!(bytes.len() < 80, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn what_is_no_text_comes_back_too() {
        let packer = Packer::default();
        let odd = vec![PathBuf::from(OsStr::from_bytes(b"/a/\xff"))];
        assert_eq!(packer.unpack(&packer.pack(&odd)), Some(odd));
        assert_eq!(packer.unpack(&Packed(Content::Bytes(Arc::new([1, 2, 3])))), None);
    }
}
