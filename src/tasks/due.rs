//! What starts now, what is left out and why, and when to look again. Pure: the clock is an argument.
//!
//! Of each task it is remembered up to which moment its schedule was reckoned with: what was due until then was started,
//! or left out. However many times have passed since, at most the last of them starts: there is never a flood.

use crate::config::Task;
use crate::model::{Missed, Overlap, TaskName, Time};

/// What starts so many milliseconds after its time is on time: looking takes turns.
const ON_TIME: i64 = 90_000;
/// A clock that went back by less is waited for, so that nothing runs twice; one that went back further was wrong
/// before, and its time counts from now. The rule of Vixie's cron.
const GONE_BACK: i64 = 3 * 3_600_000;

/// A task with what is known of it.
pub struct Known<'a> {
    pub task: &'a Task,
    pub reckoned: Time,
    /// Whether a run of it goes on.
    pub runs: bool,
    /// The time that it was due and did not start, because something had to be waited for.
    pub held: Option<Held>,
}

/// A time that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    pub due: Time,
    pub because: Because,
    /// Whether it was on time when it began to wait.
    pub cause: Cause,
}

/// Whether tasks of a project may start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    Ready {
        /// How many may start besides those that run.
        free: usize,
    },
    /// In a moment: a deployment is between its switch and its verdict, a recovery is not over.
    Soon,
    /// Not before somebody has done something: the words say what is the matter.
    Closed(String),
}

/// Why something did not start at its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Because {
    /// The run before still ran.
    Overlaps,
    /// As many tasks of the project ran as may.
    Crowd,
    /// A deployment was between its switch and its verdict, or the server had just started.
    InHand,
    /// Its time passed while the server was down, or the clock jumped over it.
    Missed,
    /// The project takes none: needs an admin, is stopped.
    Closed(String),
}

impl Because {
    /// For records and lists.
    pub fn words(&self) -> String {
        match self {
            Because::Overlaps => "the run before still ran".into(),
            Because::Crowd => "as many tasks ran as may run at once".into(),
            Because::InHand => "a deployment was between its switch and its verdict".into(),
            Because::Missed => "its time passed while the server was down, or the clock jumped".into(),
            Because::Closed(why) => why.clone(),
        }
    }
}

/// Why something starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    Schedule,
    /// Its time passed, and it is made up for.
    Missed,
    /// Somebody asked.
    Manual,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Schedule => "schedule",
            Cause::Missed => "missed",
            Cause::Manual => "manual",
        }
    }
}

/// What is to be done about one task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// `waited`: for what, when it was held back first.
    Start {
        task: TaskName,
        due: Time,
        cause: Cause,
        waited: Option<Because>,
    },
    Skip {
        task: TaskName,
        due: Time,
        because: Because,
    },
    /// It starts when this is over.
    Hold {
        task: TaskName,
        held: Held,
    },
    /// What runs is ended, for the next one.
    End {
        task: TaskName,
        held: Held,
    },
    /// The clock was wrong: the task's time counts from now.
    Reckon {
        task: TaskName,
    },
}

/// All of it, and the next moment at which something is due.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Decision {
    pub acts: Vec<Act>,
    pub wake: Option<Time>,
}

/// Decides for the tasks of one project.
pub fn decide(tasks: &[Known<'_>], readiness: &Readiness, now: Time) -> Decision {
    let mut free = match readiness {
        Readiness::Ready { free } => *free,
        Readiness::Soon | Readiness::Closed(_) => 0,
    };
    let mut decision = Decision::default();
    // Who waits longest comes first: where few may run at once, none is passed over for ever.
    let mut order: Vec<&Known<'_>> = tasks.iter().collect();
    order.sort_by_key(|known| known.held.as_ref().map_or(now, |held| held.due));
    for known in order {
        let act = act(known, readiness, (now, free));
        if matches!(act, Some(Act::Start { .. })) {
            free = free.saturating_sub(1);
        }
        decision.acts.extend(act);
        let next = known.task.schedule.next_after(now);
        decision.wake = [decision.wake, next].into_iter().flatten().min();
    }
    decision
}

fn act(known: &Known<'_>, readiness: &Readiness, (now, free): (Time, usize)) -> Option<Act> {
    let task = known.task.name.clone();
    if known.reckoned.0 - now.0 > GONE_BACK {
        return Some(Act::Reckon { task });
    }
    let due = known.task.schedule.last_until(now).filter(|due| *due > known.reckoned)?;
    let before = known.held.as_ref().filter(|held| held.due == due);
    let late = now.0 - due.0 > ON_TIME;
    let cause = before.map_or(if late { Cause::Missed } else { Cause::Schedule }, |held| held.cause);
    if cause == Cause::Missed && known.task.missed == Missed::Skip {
        return Some(Act::Skip { task, due, because: Because::Missed });
    }
    let held = |because| Held { due, because, cause };
    match readiness {
        Readiness::Closed(why) => return Some(Act::Skip { task, due, because: Because::Closed(why.clone()) }),
        Readiness::Soon => return Some(Act::Hold { task, held: held(Because::InHand) }),
        Readiness::Ready { .. } => {}
    }
    if known.runs {
        return Some(match known.task.overlap {
            Overlap::Skip => Act::Skip { task, due, because: Because::Overlaps },
            Overlap::Wait => Act::Hold { task, held: held(Because::Overlaps) },
            Overlap::Kill => Act::End { task, held: held(Because::Overlaps) },
        });
    }
    if free == 0 {
        return Some(Act::Hold { task, held: held(Because::Crowd) });
    }
    Some(Act::Start { task, due, cause, waited: before.map(|held| held.because.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Schedule;
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    /// Midnight, UTC.
    const START: i64 = 1_780_272_000_000;

    fn task(line: &str, overlap: Overlap, missed: Missed) -> Task {
        Task {
            name: TaskName::parse("t").unwrap(),
            run: "true".into(),
            schedule: Schedule::parse(line, "UTC").unwrap(),
            overlap,
            missed,
            timeout: None,
        }
    }

    fn every_five(overlap: Overlap) -> Task {
        task("*/5 * * * *", overlap, Missed::Run)
    }

    fn known(task: &Task, reckoned: i64) -> Known<'_> {
        Known { task, reckoned: Time(reckoned), runs: false, held: None }
    }

    fn one(known: Known<'_>, now: i64) -> Option<Act> {
        decide(&[known], &Readiness::Ready { free: 4 }, Time(now)).acts.pop()
    }

    fn start(due: i64, cause: Cause) -> Option<Act> {
        Some(Act::Start { task: TaskName::parse("t").unwrap(), due: Time(due), cause, waited: None })
    }

    #[test]
    fn what_is_due_starts_once_and_the_next_time_is_looked_for() {
        let every = every_five(Overlap::Skip);
        let now = START + 5 * MINUTE + 200;
        let decision = decide(&[known(&every, START)], &Readiness::Ready { free: 4 }, Time(now));
        assert_eq!(decision.acts.first().cloned(), start(START + 5 * MINUTE, Cause::Schedule));
        assert_eq!(decision.wake, Some(Time(START + 10 * MINUTE)));
        assert_eq!(one(known(&every, START + 5 * MINUTE), now), None, "reckoned with");
        assert_eq!(one(known(&every, START), START + 4 * MINUTE), None);
    }

    #[test]
    fn a_server_that_was_down_makes_up_for_one_time_or_none() {
        let (run, skip) = (every_five(Overlap::Skip), task("*/5 * * * *", Overlap::Skip, Missed::Skip));
        let now = START + 30 * 24 * HOUR + 3 * MINUTE;
        let due = START + 30 * 24 * HOUR;
        assert_eq!(one(known(&run, START), now), start(due, Cause::Missed));
        let skipped = Act::Skip { task: skip.name.clone(), due: Time(due), because: Because::Missed };
        assert_eq!(one(known(&skip, START), now), Some(skipped));
        assert_eq!(one(known(&skip, START), due + 1000), start(due, Cause::Schedule), "on time is on time");
    }

    #[test]
    fn a_clock_that_goes_back_a_little_is_waited_for_and_one_that_was_wrong_is_not() {
        let every = every_five(Overlap::Skip);
        assert_eq!(one(known(&every, START + HOUR), START + 10 * MINUTE), None, "nothing runs twice");
        let wrong = Some(Act::Reckon { task: every.name.clone() });
        assert_eq!(one(known(&every, START + 365 * 24 * HOUR), START), wrong);
    }

    #[test]
    fn a_run_that_goes_on_is_waited_for_ended_or_left_alone() {
        let now = START + 5 * MINUTE;
        let act = |overlap| {
            let task = every_five(overlap);
            one(Known { runs: true, ..known(&task, START) }, now).unwrap()
        };
        let (task, due) = (TaskName::parse("t").unwrap(), Time(now));
        assert_eq!(act(Overlap::Skip), Act::Skip { task: task.clone(), due, because: Because::Overlaps });
        let held = Held { due, because: Because::Overlaps, cause: Cause::Schedule };
        assert_eq!(act(Overlap::Wait), Act::Hold { task: task.clone(), held: held.clone() });
        assert_eq!(act(Overlap::Kill), Act::End { task, held });
    }

    #[test]
    fn what_was_held_is_not_late_and_says_what_it_waited_for() {
        let strict = task("*/5 * * * *", Overlap::Wait, Missed::Skip);
        let due = Time(START + 5 * MINUTE);
        let held = Some(Held { due, because: Because::Overlaps, cause: Cause::Schedule });
        let act = one(Known { held, ..known(&strict, START) }, START + 9 * MINUTE);
        let waited = Some(Because::Overlaps);
        assert_eq!(act, Some(Act::Start { task: strict.name.clone(), due, cause: Cause::Schedule, waited }));
        // A newer time takes the place of the one that waits.
        let held = Some(Held { due, because: Because::Overlaps, cause: Cause::Schedule });
        let act = one(Known { held, ..known(&strict, START) }, START + 10 * MINUTE);
        assert_eq!(act, start(START + 10 * MINUTE, Cause::Schedule));
    }

    #[test]
    fn what_was_missed_stays_missed_while_it_waits() {
        let every = every_five(Overlap::Skip);
        let now = Time(START + 24 * HOUR + 4 * MINUTE);
        let acts = decide(&[known(&every, START)], &Readiness::Soon, now).acts;
        let Some(Act::Hold { held, .. }) = acts.first().cloned() else { panic!("{acts:?}") };
        assert_eq!(held.cause, Cause::Missed);
        let act = one(Known { held: Some(held), ..known(&every, START) }, now.0 + 1000);
        assert!(matches!(act, Some(Act::Start { cause: Cause::Missed, waited: Some(Because::InHand), .. })), "{act:?}");
    }

    #[test]
    fn nothing_starts_in_a_switch_and_nothing_where_nothing_serves() {
        let every = every_five(Overlap::Skip);
        let (name, due) = (every.name.clone(), Time(START + 5 * MINUTE));
        let act = |readiness| decide(&[known(&every, START)], &readiness, due).acts;
        let held = Held { due, because: Because::InHand, cause: Cause::Schedule };
        assert_eq!(act(Readiness::Soon), [Act::Hold { task: name.clone(), held }]);
        let because = Because::Closed("needs an admin".into());
        assert_eq!(act(Readiness::Closed("needs an admin".into())), [Act::Skip { task: name, due, because }]);
    }

    #[test]
    fn only_so_many_start_at_once() {
        let every = every_five(Overlap::Skip);
        let crowd = [known(&every, START), known(&every, START), known(&every, START)];
        let acts = decide(&crowd, &Readiness::Ready { free: 2 }, Time(START + 5 * MINUTE)).acts;
        let starts = acts.iter().filter(|act| matches!(act, Act::Start { .. })).count();
        assert!(
            starts == 2 && matches!(&acts[2], Act::Hold { held, .. } if held.because == Because::Crowd),
            "{acts:?}"
        );
    }

    #[test]
    fn who_waits_longest_comes_first() {
        let (every, daily) = (every_five(Overlap::Skip), task("@daily", Overlap::Skip, Missed::Run));
        let daily = Task { name: TaskName::parse("daily").unwrap(), ..daily };
        let held = |due: i64| Some(Held { due: Time(due), because: Because::Crowd, cause: Cause::Schedule });
        let day = START + 24 * HOUR;
        let waiting = [
            Known { held: held(day + 5 * MINUTE), ..known(&every, START) },
            Known { held: held(day), ..known(&daily, START) },
        ];
        let acts = decide(&waiting, &Readiness::Ready { free: 1 }, Time(day + 6 * MINUTE)).acts;
        assert!(matches!(&acts[0], Act::Start { task, .. } if task.as_str() == "daily"), "{acts:?}");
        assert!(matches!(&acts[1], Act::Hold { .. }), "{acts:?}");
    }

    proptest! {
        /// Whatever the clock does, no time is started twice, and none that was reckoned with.
        #[test]
        fn no_time_starts_twice(jumps in proptest::collection::vec(-7_200_000i64..20_000_000, 1..60)) {
            let every = every_five(Overlap::Skip);
            let (mut now, mut reckoned, mut started) = (START, START, Vec::new());
            for jump in jumps {
                now += jump;
                match one(known(&every, reckoned), now) {
                    Some(Act::Start { due, .. }) => {
                        prop_assert!(due.0 > reckoned && due.0 <= now);
                        started.push(due);
                        reckoned = due.0;
                    }
                    Some(Act::Reckon { .. }) => {
                        started.clear();
                        reckoned = now;
                    }
                    other => prop_assert_eq!(other, None),
                }
            }
            let mut once = started.clone();
            once.dedup();
            prop_assert_eq!(once, started);
        }
    }
}
