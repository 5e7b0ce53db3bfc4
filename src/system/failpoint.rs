//! Named places at which a test stops, kills or fails this process. Without the cargo feature `failpoints` nothing of it
//! is compiled but the calls, which then are empty.
//!
//! `FAILPOINTS="step.exchange.after=return(kill)"` in the environment of `commis serve`; the words are `kill`, `stop`
//! (to be killed when the disk has lost its power) and `error`. `3*off->1*return(kill)` is the fourth time.

use crate::model::Failure;

/// Reads what the environment asks for. Before any thread.
pub fn arm() {
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
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
    let word = fail::eval(&name, |word| word.unwrap_or_default());
    match word.as_deref() {
        Some("kill") => raise(Signal::SIGKILL).unwrap_or_default(),
        Some("stop") => raise(Signal::SIGSTOP).unwrap_or_default(),
        Some("error") => {
            return Err(Failure::new(crate::model::Code::Internal, format!("a test failed {name}")));
        }
        _ => {}
    }
    Ok(())
}
