//! When an instance is left out and when it is tried again. Pure: time comes in as what passed since the router began.
//! One failure puts an instance out at once; it is tried again after a short, growing time, by one request at a time.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
/// Short, because a try costs one refused connection on this machine, and somebody waits for it.
const LONGEST: Duration = Duration::from_millis(250);

/// Whether an instance gets requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    #[default]
    In,
    Out {
        fault: Fault,
        failures: u32,
        /// From when on one request may try it.
        again: Duration,
    },
}

/// What an instance did to be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nobody took the connection.
    Refused,
    /// The connection ended before there was an answer.
    Broke,
}

/// What an instance did well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    Connected,
    Answered,
}

impl Standing {
    /// It failed once more.
    pub fn failed(self, fault: Fault, now: Duration) -> Self {
        let failures = match self {
            Standing::In => 1,
            Standing::Out { failures, .. } => failures.saturating_add(1),
        };
        Standing::Out { fault, failures, again: now + delay(failures) }
    }

    /// It did something well: is that enough to be in again?
    pub fn well(self, sign: Sign) -> Self {
        match (self, sign) {
            (Standing::Out { fault: Fault::Broke, .. }, Sign::Connected) => self,
            _ => Standing::In,
        }
    }

    /// A request asks to try what is out: `Some` is the standing that keeps others away meanwhile.
    pub fn tried(self, now: Duration) -> Option<Self> {
        match self {
            Standing::Out { fault, failures, again } if again <= now => {
                Some(Standing::Out { fault, failures, again: now + delay(failures) })
            }
            Standing::In | Standing::Out { .. } => None,
        }
    }
}

fn delay(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_fails_is_out_at_once_and_tried_later_and_later() {
        let mut standing = Standing::In;
        let mut waits = Vec::new();
        for _ in 0..6 {
            standing = standing.failed(Fault::Refused, SECOND);
            let Standing::Out { again, .. } = standing else { panic!("still in") };
            waits.push((again - SECOND).as_millis());
        }
        assert_eq!(waits, [20, 40, 80, 160, 250, 250]);
    }

    #[test]
    fn one_request_tries_while_the_others_wait() {
        let out = Standing::In.failed(Fault::Refused, SECOND);
        assert_eq!(out.tried(SECOND), None);
        let later = SECOND + FIRST;
        let tried = out.tried(later).unwrap();
        assert_eq!(tried.tried(later), None);
        assert!(tried.tried(later + FIRST).is_some(), "a try that never ends is not the last one");
    }

    #[test]
    fn who_refused_is_in_once_it_connects_and_who_broke_once_it_answers() {
        let refused = Standing::In.failed(Fault::Refused, SECOND);
        assert_eq!(refused.well(Sign::Connected), Standing::In);
        let broke = Standing::In.failed(Fault::Broke, SECOND);
        assert_eq!(broke.well(Sign::Connected), broke);
        assert_eq!(broke.well(Sign::Answered), Standing::In);
    }
}
