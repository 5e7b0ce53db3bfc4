//! A moment of wall time, in milliseconds since 1970 UTC. Only for records and display; time-outs use tokio's monotonic clock.

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub i64);

impl Time {
    /// Seconds from `earlier` to `self`, negative when the clock went back.
    pub fn seconds_since(self, earlier: Time) -> f64 {
        (self.0 - earlier.0) as f64 / 1000.0
    }
}
