//! When a certificate is due, and when a name that failed is tried again. Pure: seconds since 1970, and lengths.

use crate::model::Time;
use std::time::Duration;

const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_LONGEST: Duration = Duration::from_secs(6 * 3600);
/// How often a suggestion is asked for again at least, and at most.
const ASK_LONGEST: Duration = Duration::from_secs(24 * 3600);
const ASK_SHORTEST: Duration = Duration::from_secs(1);

/// From one moment to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    pub from: i64,
    pub until: i64,
}

/// Whether something has to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    Now,
    /// To be looked at again after this.
    Later(Duration),
}

/// What is known of the attempts for one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tries {
    pub failures: u32,
    /// Not before this.
    pub next: Time,
}

impl Default for Tries {
    fn default() -> Self {
        Self { failures: 0, next: Time(0) }
    }
}

impl Tries {
    /// After one more: `None` is a failure, after which the waits grow.
    pub fn after(self, result: Option<Due>, now: Time) -> Self {
        let wait = |length: Duration| Time(now.0.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)));
        match result {
            Some(Due::Now) => Self { failures: 0, next: now },
            Some(Due::Later(length)) => Self { failures: 0, next: wait(length) },
            None => {
                let grown = RETRY_FIRST.saturating_mul(1 << self.failures.min(16));
                Self { failures: self.failures.saturating_add(1), next: wait(grown.min(RETRY_LONGEST)) }
            }
        }
    }
}

/// What to do with a certificate, and when. `now.1` is when a suggestion is asked for again. However odd a suggestion is,
/// nothing is renewed in the first tenth of its life, or later than in the last.
pub fn decide(life: Life, suggested: Option<(Life, u64)>, now: (i64, Duration)) -> Due {
    let tenth = (life.until - life.from) / 10;
    if now.0 < life.from + tenth {
        return later(life.from + tenth - now.0, ASK_LONGEST);
    }
    match suggested {
        _ if now.0 >= life.until - tenth => Due::Now,
        None => by_life(life, now.0),
        Some((window, salt)) => match by_suggestion(window, salt, now) {
            Due::Later(length) => later(life.until - tenth - now.0, length),
            Due::Now => Due::Now,
        },
    }
}

/// Where the authority suggests nothing: after two thirds of its life.
fn by_life(life: Life, now: i64) -> Due {
    let at = life.from + (life.until - life.from) / 3 * 2;
    later(at - now, ASK_LONGEST)
}

/// At a moment within the window that is the certificate's own, so that not all renew at once. `salt` differs from
/// certificate to certificate. The suggestion itself is asked for again after `now.1`.
fn by_suggestion(window: Life, salt: u64, now: (i64, Duration)) -> Due {
    let length = u64::try_from(window.until - window.from).unwrap_or(0);
    let offset = i64::try_from(salt % length.max(1)).unwrap_or(0);
    later(window.from + offset - now.0, now.1)
}

fn later(seconds: i64, ask_again: Duration) -> Due {
    match u64::try_from(seconds) {
        Ok(seconds) if seconds > 0 => {
            Due::Later(Duration::from_secs(seconds).min(ask_again).clamp(ASK_SHORTEST, ASK_LONGEST))
        }
        _ => Due::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn without_a_suggestion_two_thirds_of_a_life_are_enough() {
        let life = Life { from: 0, until: 90 * DAY };
        assert_eq!(by_life(life, 60 * DAY), Due::Now);
        assert_eq!(by_life(life, 60 * DAY - 100), Due::Later(Duration::from_secs(100)));
        assert_eq!(by_life(life, 0), Due::Later(ASK_LONGEST));
        assert_eq!(by_life(life, 1000 * DAY), Due::Now);
    }

    #[test]
    fn a_suggestion_is_followed_at_a_moment_of_the_certificates_own() {
        let window = Life { from: 1000, until: 2000 };
        let again = Duration::from_secs(3600);
        assert_eq!(by_suggestion(window, 300, (1299, again)), Due::Later(Duration::from_secs(1)));
        assert_eq!(by_suggestion(window, 300, (1300, again)), Due::Now);
        assert_eq!(by_suggestion(window, 2300, (1300, again)), Due::Now);
        assert_eq!(by_suggestion(window, 300, (-90_000, again)), Due::Later(again), "it may change until then");
        for odd in [Life { from: 5, until: 5 }, Life { from: 5, until: 1 }] {
            assert_eq!(by_suggestion(odd, u64::MAX, (10, again)), Due::Now);
        }
    }

    #[test]
    fn an_odd_suggestion_neither_renews_all_the_time_nor_never() {
        let (life, again) = (Life { from: 0, until: 1000 }, Duration::from_secs(50));
        let past = Some((Life { from: -10, until: -5 }, 0));
        let far = Some((Life { from: 1 << 40, until: 1 << 41 }, 0));
        assert_eq!(decide(life, past, (10, again)), Due::Later(Duration::from_secs(90)));
        assert_eq!(decide(life, past, (100, again)), Due::Now);
        assert_eq!(decide(life, far, (100, again)), Due::Later(again));
        assert_eq!(decide(life, far, (890, again)), Due::Later(Duration::from_secs(10)));
        assert_eq!(decide(life, far, (900, again)), Due::Now);
        assert_eq!(decide(life, None, (700, again)), Due::Now);
    }

    #[test]
    fn a_name_that_fails_is_tried_later_and_later_and_forgiven_once_it_works() {
        let (mut tries, mut waits) = (Tries::default(), Vec::new());
        for _ in 0..12 {
            tries = tries.after(None, Time(0));
            waits.push(tries.next.0 / 1000);
        }
        assert_eq!(waits[..4], [60, 120, 240, 480]);
        assert_eq!((waits[11], tries.failures), (6 * 3600, 12));
        assert_eq!(tries.after(Some(Due::Now), Time(7)), Tries { failures: 0, next: Time(7) });
    }
}
