//! What the two halves of one client connection tell each other: the guard that judges its bytes and the service that
//! answers its requests. Counters only; neither half is written here.

use super::strict::Refusal;
use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

/// The method of the stand-in request that the guard hands on in place of one it refused. No client can send it:
/// [`super::strict`] refuses it.
pub const REFUSED_METHOD: &str = "COMMIS-REFUSED";

/// Shared by guard and service of one connection. Requests are answered one after the other, so counts are enough.
pub struct Front {
    refusal: OnceLock<Refusal>,
    settled: AtomicU64,
    finished: AtomicU64,
    tunnel: AtomicBool,
    waker: AtomicWaker,
}

impl Front {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            refusal: OnceLock::new(),
            settled: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            tunnel: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    pub fn refuse(&self, refusal: Refusal) {
        // The first reason is the one that is told.
        let _ = self.refusal.set(refusal);
    }

    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal.get().copied()
    }

    /// What follows the current request on the wire is known: HTTP again.
    pub fn settle_http(&self) {
        self.settled.fetch_add(1, Ordering::AcqRel);
        self.waker.wake();
    }

    /// What follows the current request on the wire is known: the application agreed to another protocol.
    pub fn settle_tunnel(&self) {
        self.tunnel.store(true, Ordering::Release);
        self.settle_http();
    }

    /// Whether request number `turn` (from 1) is settled; if not, `waker` hears of it.
    pub fn is_settled(&self, turn: u64, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.settled.load(Ordering::Acquire) >= turn
    }

    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Acquire)
    }

    /// `waker` hears of the next request that is settled or answered to the last byte.
    pub fn wake_at_next_end(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// How many requests are answered to the last byte.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Acquire)
    }
}

/// Held by an answer until its last byte is on its way.
pub struct InFlight(pub Arc<Front>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::AcqRel);
        self.0.waker.wake();
    }
}
