//! The C library's heaps. There are many processes of this program on one machine, and most of them wait: what one does
//! not need belongs to others.

use nix::libc;

/// Threads share so many heaps instead of having one each, in which what was once needed would stay. To be called before
/// there are threads. What it brings stands in `docs/performance.md`.
pub fn share_heaps(heaps: u8) {
    // SAFETY: sets a number of the C library; nothing is kept of it.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, heaps.into()) };
}

/// What is free goes back to the kernel: after work that took much, before a long wait.
pub fn give_back() {
    // SAFETY: touches no memory that anybody has.
    unsafe { libc::malloc_trim(0) };
}
