//! What the two halves of one client connection tell each other: the guard that judges its bytes and the service that
//! answers its requests. Counters only; neither half is written here.

use super::strict::Refusal;
use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

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

/// The streams of one HTTP/2 connection.
#[derive(Default)]
pub struct Streams {
    begun: AtomicU64,
    ended: AtomicU64,
    news: tokio::sync::Notify,
}

impl Streams {
    /// Ready when no request was under way for this long; the first has to begin within `first`.
    pub async fn idle(&self, first: Duration, between: Duration) {
        loop {
            let (begun, ended) = (self.begun.load(Ordering::Acquire), self.ended.load(Ordering::Acquire));
            let told = self.news.notified();
            if begun != ended {
                told.await;
                continue;
            }
            let patience = if begun == 0 { first } else { between };
            if tokio::time::timeout(patience, told).await.is_err() && self.begun.load(Ordering::Acquire) == begun {
                return;
            }
        }
    }
}

/// The connection that a request came over.
#[derive(Clone)]
pub enum Conversation {
    /// HTTP/1: one request after the other.
    Line(Arc<Front>),
    /// HTTP/2: many at a time.
    Streams(Arc<Streams>),
}

/// Held by an answer until its last byte is on its way.
pub struct InFlight(Conversation);

impl InFlight {
    pub fn begin(conversation: &Conversation) -> Self {
        if let Conversation::Streams(streams) = conversation {
            streams.begun.fetch_add(1, Ordering::AcqRel);
        }
        Self(conversation.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        match &self.0 {
            Conversation::Line(front) => {
                front.finished.fetch_add(1, Ordering::AcqRel);
                front.waker.wake();
            }
            Conversation::Streams(streams) => {
                streams.ended.fetch_add(1, Ordering::AcqRel);
                streams.news.notify_one();
            }
        }
    }
}
