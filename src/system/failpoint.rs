//! Named places at which a test stops, kills or fails this process. Without the cargo feature `failpoints` nothing of it
//! is compiled but the calls, which then are empty.
//!
//! `FAILPOINTS="step.exchange.after=return(kill)"` in the environment of `commis serve`; the words are `kill`, `stop`
//! (to be killed when the disk has lost its power) and `error`. `3*off->1*return(kill)` is the fourth time, and no other.

use crate::model::Failure;

/// From now on points do what is asked for. Before any thread.
#[cfg(feature = "failpoints")]
pub fn arm(asked: &str) {
    armed::arm(asked);
}

/// A point is reached. The name is made only when there are points.
///
/// # Errors
/// `Internal`, when a test asked for it.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_name: impl FnOnce() -> String) -> Result<(), Failure> {
    Ok(())
}

/// A point is reached: says so in the log, and does what was asked for.
///
/// # Errors
/// `Internal`, when a test asked for it.
#[cfg(feature = "failpoints")]
pub fn reach(name: impl FnOnce() -> String) -> Result<(), Failure> {
    use nix::sys::signal::{Signal, raise};
    let name = name();
    tracing::info!(target: "failpoint", "{name}");
    match armed::next(&name).as_deref() {
        Some("kill") => raise(Signal::SIGKILL).unwrap_or_default(),
        Some("stop") => raise(Signal::SIGSTOP).unwrap_or_default(),
        Some("error") => {
            return Err(Failure::new(crate::model::Code::Internal, format!("a test failed {name}")));
        }
        _ => {}
    }
    Ok(())
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::HashMap;
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// What is still to come at one point.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub(super) struct Armed {
        skip: u64,
        /// `None`: for ever.
        times: Option<u64>,
        word: String,
    }

    static ARMED: OnceLock<Mutex<HashMap<String, Armed>>> = OnceLock::new();

    pub(super) fn arm(asked: &str) {
        let _ = ARMED.set(Mutex::new(asked.split(';').filter_map(parse).collect()));
    }

    /// The word, when it is this point's turn.
    pub(super) fn next(name: &str) -> Option<String> {
        ARMED.get()?.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name)?.turn()
    }

    /// `NAME=[N*off->][N*]return(WORD)`.
    pub(super) fn parse(text: &str) -> Option<(String, Armed)> {
        let (name, what) = text.split_once('=')?;
        let (skip, what) = what.split_once("*off->").unwrap_or(("0", what));
        let (times, what) = what.split_once('*').map_or((None, what), |(times, what)| (times.parse().ok(), what));
        let word = what.strip_prefix("return(")?.strip_suffix(')')?.to_owned();
        Some((name.to_owned(), Armed { skip: skip.parse().ok()?, times, word }))
    }

    impl Armed {
        pub(super) fn turn(&mut self) -> Option<String> {
            if self.skip > 0 {
                self.skip -= 1;
                return None;
            }
            match &mut self.times {
                Some(0) => return None,
                Some(times) => *times -= 1,
                None => {}
            }
            Some(self.word.clone())
        }
    }
}

#[cfg(all(test, feature = "failpoints"))]
mod tests {
    use super::armed::parse;

    #[test]
    fn a_point_is_skipped_so_often_and_has_its_turn_so_often() {
        let (name, mut armed) = parse("row.before=2*off->1*return(kill)").unwrap();
        assert_eq!(name, "row.before");
        let turns: Vec<_> = (0..5).map(|_| armed.turn()).collect();
        assert_eq!(turns, [None, None, Some("kill".to_owned()), None, None]);
        let (_, mut always) = parse("a=return(stop)").unwrap();
        assert_eq!((always.turn(), always.turn()), (Some("stop".into()), Some("stop".into())));
        assert_eq!((parse("nowhere=off"), parse("")), (None, None));
    }
}
