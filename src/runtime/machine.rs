//! The life of one instance as a pure machine: (state, event, now) -> (state, actions). No tokio, no clock, no process:
//! `super::instance` tells it what happened and does what it says.

use crate::model::Exit;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A process that ran this long is no crash loop: its next failure is its first.
const SETTLED: Duration = Duration::from_secs(60);

/// Time since some start; only differences count.
pub type Monotonic = Duration;

/// How instances are started again and stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// Before the second start; doubles with each failure in a row.
    pub delay: Duration,
    pub delay_max: Duration,
    /// From SIGTERM to the end of the whole cgroup.
    pub stop_grace: Duration,
    /// How long what a process saw that ended by itself can be looked at.
    #[serde(default)]
    pub keep_crashed: Duration,
}

/// What an exit leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Restarts {
    /// It stays down, for whoever checks the release to see.
    Never,
    /// It is started again, later and later.
    BackOff,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessState {
    /// A start was asked for and has not been answered. `failures` in a row came before.
    Starting {
        failures: u32,
    },
    Running {
        since: Monotonic,
        failures: u32,
    },
    /// Ended or not started; nothing happens unless it is kept or stopped.
    Down {
        failures: u32,
    },
    BackingOff {
        until: Monotonic,
        failures: u32,
    },
    /// SIGTERM was sent or will be, as soon as it runs.
    Stopping {
        deadline: Monotonic,
    },
    /// Nothing of it lives. The end.
    Stopped,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProcessEvent {
    Started,
    StartFailed,
    Exited(Exit),
    /// From now on it is to be kept running.
    Kept,
    StopAsked,
    /// Time went by; comes at the moment last scheduled or at any other.
    Tick,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Start,
    /// SIGTERM to everything of it.
    Terminate,
    /// SIGKILL to its whole cgroup.
    KillGroup,
    /// A tick is wanted then.
    Schedule(Monotonic),
}

/// The rules that one step follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    pub policy: RestartPolicy,
    pub restarts: Restarts,
}

/// How a life begins, after so many failures in a row.
#[must_use]
pub fn begin(failures: u32) -> (ProcessState, Vec<Action>) {
    (ProcessState::Starting { failures }, vec![Action::Start])
}

impl ProcessState {
    /// Failures in a row.
    pub fn failures(self) -> u32 {
        match self {
            ProcessState::Starting { failures }
            | ProcessState::Running { failures, .. }
            | ProcessState::Down { failures }
            | ProcessState::BackingOff { failures, .. } => failures,
            ProcessState::Stopping { .. } | ProcessState::Stopped => 0,
        }
    }
}

/// What follows from `event` in `state` at `now`.
#[must_use]
pub fn step(rules: Rules, state: ProcessState, event: &ProcessEvent, now: Monotonic) -> (ProcessState, Vec<Action>) {
    use ProcessEvent as E;
    use ProcessState as S;
    match (state, event) {
        (S::Starting { failures }, E::Started) => (S::Running { since: now, failures }, vec![]),
        (S::Starting { failures }, E::StartFailed) => failed(rules, failures, now),
        (S::Running { since, failures }, E::Exited(_)) => {
            failed(rules, if now.saturating_sub(since) >= SETTLED { 0 } else { failures }, now)
        }
        (S::Starting { .. } | S::Running { .. }, E::StopAsked) => {
            let deadline = now + rules.policy.stop_grace;
            let terminate = matches!(state, S::Running { .. }).then_some(Action::Terminate);
            (S::Stopping { deadline }, terminate.into_iter().chain([Action::Schedule(deadline)]).collect())
        }
        (S::Down { .. } | S::BackingOff { .. }, E::StopAsked) => (S::Stopped, vec![]),
        (S::Down { failures }, E::Kept) => back_off(rules, failures, now),
        (S::BackingOff { until, failures }, E::Tick) => match now >= until {
            true => (S::Starting { failures }, vec![Action::Start]),
            false => (state, vec![Action::Schedule(until)]),
        },
        (S::Stopping { .. }, E::Started) => {
            let deadline = now + rules.policy.stop_grace;
            (S::Stopping { deadline }, vec![Action::Terminate, Action::Schedule(deadline)])
        }
        (S::Stopping { .. }, E::StartFailed | E::Exited(_)) => (S::Stopped, vec![]),
        (S::Stopping { deadline }, E::Tick) => match now >= deadline {
            true => (state, vec![Action::KillGroup]),
            false => (state, vec![Action::Schedule(deadline)]),
        },
        // What cannot happen in a state, or changes nothing there.
        (S::Starting { .. }, E::Exited(_) | E::Kept | E::Tick)
        | (S::Running { .. }, E::Started | E::StartFailed | E::Kept | E::Tick)
        | (S::Down { .. }, E::Started | E::StartFailed | E::Exited(_) | E::Tick)
        | (S::BackingOff { .. }, E::Started | E::StartFailed | E::Exited(_) | E::Kept)
        | (S::Stopping { .. }, E::StopAsked | E::Kept)
        | (S::Stopped, _) => (state, vec![]),
    }
}

fn failed(rules: Rules, failures: u32, now: Monotonic) -> (ProcessState, Vec<Action>) {
    let failures = failures.saturating_add(1);
    match rules.restarts {
        Restarts::Never => (ProcessState::Down { failures }, vec![]),
        Restarts::BackOff => back_off(rules, failures, now),
    }
}

fn back_off(rules: Rules, failures: u32, now: Monotonic) -> (ProcessState, Vec<Action>) {
    let until = now + delay(rules.policy, failures);
    (ProcessState::BackingOff { until, failures }, vec![Action::Schedule(until)])
}

/// Before the start that follows `failures` in a row.
pub fn delay(policy: RestartPolicy, failures: u32) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    policy.delay.saturating_mul(doubled).min(policy.delay_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProcessEvent as E;
    use ProcessState as S;
    use proptest::prelude::*;

    const POLICY: RestartPolicy =
        RestartPolicy { delay: secs(1), delay_max: secs(8), stop_grace: secs(10), keep_crashed: secs(60) };
    const KEEP: Rules = Rules { policy: POLICY, restarts: Restarts::BackOff };
    const TRY: Rules = Rules { policy: POLICY, restarts: Restarts::Never };

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn crash() -> E {
        E::Exited(Exit::Code(1))
    }

    #[test]
    fn a_crash_loop_is_started_later_and_later_and_no_later_than_the_maximum() {
        let (mut state, mut now, mut waits) = (begin(0).0, secs(0), vec![]);
        for _ in 0..6 {
            state = step(KEEP, state, &E::Started, now).0;
            let (backing, actions) = step(KEEP, state, &crash(), now);
            let S::BackingOff { until, .. } = backing else { panic!("{backing:?}") };
            assert_eq!(actions, [Action::Schedule(until)]);
            waits.push((until - now).as_secs());
            assert_eq!(step(KEEP, backing, &E::Tick, until - secs(1)), (backing, vec![Action::Schedule(until)]));
            now = until;
            let (starting, actions) = step(KEEP, backing, &E::Tick, now);
            assert_eq!(actions, [Action::Start]);
            state = starting;
        }
        assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn a_process_that_ran_a_minute_begins_again_with_the_shortest_delay() {
        let ran = S::Running { since: secs(100), failures: 5 };
        let (state, _) = step(KEEP, ran, &crash(), secs(160));
        assert_eq!(state, S::BackingOff { until: secs(161), failures: 1 });
        let (state, _) = step(KEEP, ran, &crash(), secs(159));
        assert_eq!(state, S::BackingOff { until: secs(167), failures: 6 });
    }

    #[test]
    fn on_probation_an_exit_is_final_until_it_is_kept() {
        let running = S::Running { since: secs(0), failures: 0 };
        let (down, actions) = step(TRY, running, &crash(), secs(1));
        assert_eq!((down, actions), (S::Down { failures: 1 }, vec![]));
        assert_eq!(step(TRY, down, &E::Tick, secs(99)), (down, vec![]));
        let until = secs(3);
        let kept = step(KEEP, down, &E::Kept, secs(2));
        assert_eq!(kept, (S::BackingOff { until, failures: 1 }, vec![Action::Schedule(until)]));
        assert_eq!(step(TRY, begin(0).0, &E::StartFailed, secs(1)).0, S::Down { failures: 1 });
    }

    #[test]
    fn a_stop_asks_first_and_kills_the_whole_group_after_the_grace() {
        let running = S::Running { since: secs(0), failures: 0 };
        let (stopping, actions) = step(KEEP, running, &E::StopAsked, secs(5));
        assert_eq!(actions, [Action::Terminate, Action::Schedule(secs(15))]);
        assert_eq!(step(KEEP, stopping, &E::Tick, secs(14)).1, [Action::Schedule(secs(15))]);
        assert_eq!(step(KEEP, stopping, &E::Tick, secs(15)), (stopping, vec![Action::KillGroup]));
        assert_eq!(step(KEEP, stopping, &crash(), secs(15)), (S::Stopped, vec![]));
    }

    #[test]
    fn a_stop_during_the_start_still_ends_it() {
        let (stopping, actions) = step(KEEP, begin(0).0, &E::StopAsked, secs(0));
        assert_eq!(actions, [Action::Schedule(secs(10))]);
        assert_eq!(step(KEEP, stopping, &E::Started, secs(1)).1, [Action::Terminate, Action::Schedule(secs(11))]);
        assert_eq!(step(KEEP, stopping, &E::StartFailed, secs(1)).0, S::Stopped);
    }

    #[test]
    fn nothing_to_wait_for_is_stopped_at_once() {
        for state in [S::Down { failures: 1 }, S::BackingOff { until: secs(9), failures: 1 }] {
            assert_eq!(step(KEEP, state, &E::StopAsked, secs(1)), (S::Stopped, vec![]));
        }
    }

    fn event() -> impl Strategy<Value = E> {
        prop_oneof![
            Just(E::Started),
            Just(E::StartFailed),
            Just(crash()),
            Just(E::Exited(Exit::Code(0))),
            Just(E::Kept),
            Just(E::StopAsked),
            Just(E::Tick),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order, of the events that can happen: at most one process lives at a time, and
        /// none is started after a stop.
        #[test]
        fn there_is_never_a_second_process(events in prop::collection::vec((event(), 0u64..20, any::<bool>()), 0..60)) {
            let (mut state, _) = begin(0);
            let (mut asked, mut lives, mut stopped, mut now) = (true, false, false, secs(0));
            for (event, wait, keep) in events {
                now += secs(wait);
                let possible = match event {
                    E::Started | E::StartFailed => asked,
                    E::Exited(_) => lives,
                    E::Kept | E::StopAsked | E::Tick => true,
                };
                if !possible {
                    continue;
                }
                match event {
                    E::Started => (asked, lives) = (false, true),
                    E::StartFailed => asked = false,
                    E::Exited(_) => lives = false,
                    E::StopAsked => stopped = true,
                    E::Kept | E::Tick => {}
                }
                let (next, actions) = step(if keep { KEEP } else { TRY }, state, &event, now);
                state = next;
                for action in actions {
                    match action {
                        Action::Start => {
                            prop_assert!(!asked && !lives && !stopped);
                            asked = true;
                        }
                        Action::Terminate => prop_assert!(lives && stopped),
                        Action::KillGroup => prop_assert!(stopped),
                        Action::Schedule(at) => prop_assert!(at >= now),
                    }
                }
                prop_assert_eq!(state == S::Stopped, stopped && !asked && !lives);
            }
        }
    }
}
