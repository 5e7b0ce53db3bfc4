//! One instance as requests see it: its connections, how many requests and tunnels it has, whether it is out.
//! Which instance gets a request is chosen in `board`; when one is out is decided in [`super::ejection`].

use super::ejection::{Fault, Sign, Standing};
use super::pool::Pool;
use super::table::InstanceAddress;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Shared by all who use an instance; two sets that name the same one share it as well.
pub struct Instance {
    pub address: InstanceAddress,
    pub pool: Pool,
    standing: Mutex<Standing>,
    draining: AtomicBool,
    requests: AtomicUsize,
    tunnels: AtomicUsize,
    closing: watch::Sender<bool>,
    /// Told whenever a count falls to nothing.
    idle: Notify,
}

/// What an instance has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    pub requests: usize,
    pub tunnels: usize,
}

/// Time since this program began to route.
pub fn now() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed()
}

impl Instance {
    pub fn new(address: InstanceAddress) -> Arc<Self> {
        let pool = Pool::new(address.port);
        Arc::new(Self {
            address,
            pool,
            standing: Mutex::default(),
            draining: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            closing: watch::Sender::new(false),
            idle: Notify::new(),
        })
    }

    pub fn load(&self) -> Load {
        Load { requests: self.requests.load(Ordering::SeqCst), tunnels: self.tunnels.load(Ordering::SeqCst) }
    }

    pub fn standing(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Whether a request may try it although it is out; others are kept away for a while then.
    pub fn try_again(&self) -> bool {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.tried(now()).inspect(|tried| *standing = *tried).is_some()
    }

    /// `true` when it was in until now.
    pub fn failed(&self, fault: Fault) -> bool {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *standing;
        *standing = before.failed(fault, now());
        self.pool.close();
        before == Standing::In
    }

    /// `true` when it was out until now.
    pub fn well(&self, sign: Sign) -> bool {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *standing;
        *standing = before.well(sign);
        before != *standing
    }

    /// The engine knows that it is well.
    pub fn is_back(&self) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = Standing::In;
    }

    /// Gets no new requests until [`Instance::resume`], and its idle connections are closed.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.pool.close();
    }

    pub fn resume(&self) {
        self.draining.store(false, Ordering::SeqCst);
        self.closing.send_replace(false);
    }

    pub fn close_tunnels(&self) {
        self.closing.send_replace(true);
    }

    /// Ready once `done` says so of the load; asked again whenever a count falls to nothing.
    pub async fn until(&self, done: impl Fn(Load) -> bool) {
        loop {
            let told = self.idle.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if done(self.load()) {
                return;
            }
            told.await;
        }
    }
}

/// One request at an instance, from its choice to the last byte of the answer. Counted for exactly that long.
pub struct Pass(Arc<Instance>);

/// One tunnel at an instance.
pub struct TunnelPass(Arc<Instance>);

impl Pass {
    pub fn new(instance: &Arc<Instance>) -> Self {
        instance.requests.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(instance))
    }

    pub fn instance(&self) -> &Arc<Instance> {
        &self.0
    }

    /// The request became a tunnel. Counted as both for a moment, so that a drain never sees neither.
    pub fn into_tunnel(self) -> TunnelPass {
        self.0.tunnels.fetch_add(1, Ordering::SeqCst);
        TunnelPass(Arc::clone(&self.0))
    }
}

impl TunnelPass {
    /// Ready when tunnels to this instance have to end.
    pub async fn closing(&self) {
        // The sender lives as long as the instance.
        let _ = self.0.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Drop for TunnelPass {
    fn drop(&mut self) {
        if self.0.tunnels.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
