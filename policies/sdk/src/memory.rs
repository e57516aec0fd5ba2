//! The allocator of a policy in Wasm. Touches the component's own memory.
//!
//! A policy lives for one call, so memory is handed out upwards and given back only when the newest
//! piece goes or grows, which is what strings and vectors in the making do. The first pieces come from
//! memory that the component is born with: growing it is a system call of the host, in every decision.

#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

/// Bytes that a component is born with: enough for windows of 64 series of 256 samples.
const BORN: usize = 192 << 10;
/// A page of Wasm.
const PAGE: usize = 64 << 10;

struct Upwards {
    born: UnsafeCell<[u8; BORN]>,
    /// Where the next piece begins, and where memory ends; 0 before the first one.
    at: UnsafeCell<(usize, usize)>,
}

// SAFETY: a component has one thread.
unsafe impl Sync for Upwards {}

#[global_allocator]
static MEMORY: Upwards = Upwards { born: UnsafeCell::new([0; BORN]), at: UnsafeCell::new((0, 0)) };

impl Upwards {
    /// Sets the end of what is handed out; false when memory can't grow that far.
    fn reach(&self, wanted: usize) -> bool {
        // SAFETY: one thread, and no other reference lives during this call.
        let (at, end) = unsafe { &mut *self.at.get() };
        if wanted > *end {
            let here = memory_size::<0>() * PAGE;
            // What is born lies before everything that was grown, with the rest of the data between.
            if wanted <= here || memory_grow::<0>((wanted - here).div_ceil(PAGE)) == usize::MAX {
                return false;
            }
            *end = memory_size::<0>() * PAGE;
        }
        *at = wanted;
        true
    }
}

// SAFETY: pieces do not overlap, because `at` only goes back over the newest one; they are aligned,
// and lie in memory that exists, because `reach` says so.
unsafe impl GlobalAlloc for Upwards {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `reach`.
        let (at, end) = unsafe { &mut *self.at.get() };
        if *end == 0 {
            *at = self.born.get() as usize;
            *end = *at + BORN;
        }
        let mut start = at.next_multiple_of(layout.align());
        if start.saturating_add(layout.size()) > *end {
            let here = memory_size::<0>() * PAGE;
            if *end < here {
                // From the memory that was born to that which grows.
                (*at, *end) = (here, here);
                start = here.next_multiple_of(layout.align());
            }
        }
        match start.checked_add(layout.size()) {
            Some(after) if self.reach(after) => start as *mut u8,
            _ => null_mut(),
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: as in `reach`.
        let (at, _) = unsafe { &mut *self.at.get() };
        if piece as usize + layout.size() == *at {
            *at = piece as usize;
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `reach`.
        let (at, end) = unsafe { *self.at.get() };
        let start = piece as usize;
        if start + layout.size() == at && start.checked_add(size).is_some_and(|after| after <= end) {
            self.reach(start + size);
            return piece;
        }
        // SAFETY: the caller's layout, with another size that the caller vouches for.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both pieces are at least that long and do not overlap.
            unsafe { core::ptr::copy_nonoverlapping(piece, new, layout.size().min(size)) };
        }
        new
    }
}
