//! How long a client may keep us waiting. Counts only the time in which it is the client's turn, and gives credit for
//! bytes that arrive, so that slow but honest clients live and dripping ones do not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Time earned by each byte: what keeps up 1 kB/s never runs out.
const CREDIT_PER_BYTE: Duration = Duration::from_millis(1);
/// One wait costs at most this much, because we may have been the slower side at the end of it.
const COST_MAX: Duration = Duration::from_secs(5);

/// An allowance of waiting time and the timer that ends it.
pub struct Patience {
    allowance: Duration,
    most: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub fn new(allowance: Duration) -> Self {
        Self { allowance, most: allowance, since: None, timer: None }
    }

    /// Starts afresh.
    pub fn renew(&mut self, allowance: Duration) {
        self.allowance = allowance;
        self.most = allowance;
        self.since = None;
    }

    /// It is not the client's turn.
    pub fn pause(&mut self) {
        self.since = None;
    }

    /// `bytes` moved: the wait, if there was one, is over and paid for.
    pub fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            let credit = CREDIT_PER_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
            let left = self.allowance.saturating_sub(since.elapsed().min(COST_MAX));
            self.allowance = left.saturating_add(credit).min(self.most);
        }
    }

    /// The client keeps us waiting: ready when it has done so for too long. An early timer is left alone and looked at
    /// again when it fires, which spares setting one for every request.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.allowance;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
