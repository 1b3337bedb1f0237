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

// In a section that linkers place behind all other data: that stays together, and what a sleeping shim keeps begins on the last
// page of it. Rust's own attribute would fill the file with it.
std::arch::global_asm!(
    ".pushsection .lbss,\"aw\",@nobits",
    ".balign 16",
    ".globl SEXTON_SHIM_PAGES",
    "SEXTON_SHIM_PAGES: .zero {size}",
    ".popsection",
    size = const SIZE
);

unsafe extern "C" {
    static SEXTON_SHIM_PAGES: UnsafeCell<[u8; SIZE]>;
}

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

/// Where dlmalloc's memory comes from: those pages up to `end`, then the kernel.
struct Region {
    end: Cell<usize>,
}

impl Region {
    fn base() -> *mut u8 {
        // SAFETY: defined above, with this size.
        unsafe { SEXTON_SHIM_PAGES.get().cast() }
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
        // Up to a page's end, since the region need not begin at one.
        let end = (Self::base().addr() + begin + size).next_multiple_of(PAGE) - Self::base().addr();
        if end <= SIZE {
            self.end.set(end);
            // SAFETY: within the region.
            return (unsafe { Self::base().add(begin) }, end - begin, 0);
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
        let (unused, end) = ((object.addr() + new).next_multiple_of(PAGE), object.addr() + old);
        let unused = object.with_addr(unused);
        // SAFETY: whole pages of the region, of which dlmalloc uses nothing any more.
        unsafe { libc::madvise(unused.cast(), end.saturating_sub(unused.addr()), libc::MADV_DONTNEED) };
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
        // What was given back in a page that stays is as it was.
        false
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}
