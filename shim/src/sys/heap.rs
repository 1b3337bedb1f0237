//! The shim's memory: one small region beside the program's data.
//!
//! The C library's allocator takes a page for each size of object, in mappings of their own, which need page tables of
//! their own. A sleeping shim holds less than a page's worth of objects.

use dlmalloc::{Allocator, Dlmalloc};
use nix::libc;
use std::{
    alloc::{GlobalAlloc, Layout},
    cell::{Cell, UnsafeCell},
    ptr,
};

/// What a launch needs at most; whatever needs more gets it from the kernel.
const SIZE: usize = 256 * 1024;
const PAGE: usize = 4096;

#[cfg_attr(not(test), global_allocator)]
static HEAP: Heap = Heap(UnsafeCell::new(
    const {
        let mut heap = Dlmalloc::new_with_allocator(Region { end: Cell::new(0) });
        heap.set_granularity(PAGE);
        heap
    },
));

#[repr(align(4096))]
struct Pages(UnsafeCell<[u8; SIZE]>);

// SAFETY: one thread uses it, through one `Region`.
unsafe impl Sync for Pages {}

static PAGES: Pages = Pages(UnsafeCell::new([0; SIZE]));

/// Gives the pages behind the last object back to the kernel.
pub fn trim() {
    // SAFETY: as below: one thread, and nothing else is in the allocator.
    unsafe { (*HEAP.0.get()).trim(0) };
}

/// An allocator for a process that has one thread.
struct Heap(UnsafeCell<Dlmalloc<Region>>);

// SAFETY: the shim never has a second thread, and its forked children execute something else before they allocate.
unsafe impl Sync for Heap {}

// SAFETY: dlmalloc fulfils the contract; no reference to it outlives a call, and no call is made within a call.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see above.
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see above.
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        // SAFETY: see above.
        unsafe { (*self.0.get()).free(object, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, object: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: see above.
        unsafe { (*self.0.get()).realloc(object, layout.size(), layout.align(), size) }
    }
}

/// Where dlmalloc's memory comes from: [`PAGES`] up to `end`, then the kernel.
struct Region {
    end: Cell<usize>,
}

impl Region {
    fn base() -> *mut u8 {
        PAGES.0.get().cast()
    }

    /// Whether these bytes are the last ones of the region that are used.
    fn is_last(&self, object: *mut u8, size: usize) -> bool {
        object.addr() + size == Self::base().addr() + self.end.get()
    }
}

// SAFETY: what it hands out is either a part of the region that nobody has, or a mapping of its own.
unsafe impl Allocator for Region {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let begin = self.end.get();
        if size <= SIZE - begin {
            self.end.set(begin + size);
            // SAFETY: within the region.
            return (unsafe { Self::base().add(begin) }, size, 0);
        }
        // SAFETY: a new private mapping touches nobody's memory.
        let mapped = unsafe {
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE);
            libc::mmap(ptr::null_mut(), size, access, kind, -1, 0)
        };
        if mapped == libc::MAP_FAILED { (ptr::null_mut(), 0, 0) } else { (mapped.cast(), size, 0) }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, object: *mut u8, old: usize, new: usize) -> bool {
        if !self.is_last(object, old) {
            return false;
        }
        self.end.set(self.end.get() - (old - new));
        // SAFETY: dlmalloc gives whole pages back, of which it uses nothing any more; they read as zero from now on.
        unsafe { libc::madvise(object.add(new).cast(), old - new, libc::MADV_DONTNEED) };
        true
    }

    fn free(&self, object: *mut u8, size: usize) -> bool {
        if self.is_last(object, size) {
            return self.free_part(object, size, 0);
        }
        let region = Self::base().addr()..Self::base().addr() + SIZE;
        // SAFETY: a mapping of our own, of which nothing is used any more.
        !region.contains(&object.addr()) && unsafe { libc::munmap(object.cast(), size) == 0 }
    }

    fn can_release_part(&self, _: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}
