//! The C library's heaps. There are many processes of this program on one machine, and most of them wait: what one does
//! not need belongs to others. What it brings stands in `docs/performance.md`.

use nix::libc;

/// Threads share two heaps instead of having one each, in which what a deployment took would stay. To be called before
/// there are threads.
pub fn share_heaps() {
    // SAFETY: sets a number of the C library; nothing is kept of it.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

/// What is free goes back to the kernel. Quick where the heap is small.
pub fn give_back() {
    // SAFETY: touches no memory that anybody has.
    unsafe { libc::malloc_trim(0) };
}
