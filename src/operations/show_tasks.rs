//! Scheduled tasks as people read them. Pure.

use super::columns::{moment, or_empty};
use super::records::{ScheduledTask, TaskRun};

/// One line for each.
pub fn list(tasks: &[ScheduledTask]) -> String {
    let row = |task: &ScheduledTask| {
        let next = task.next.as_deref().map_or("never".to_owned(), moment);
        let last = task.last.as_ref().map_or("has not run yet".to_owned(), last);
        vec![
            task.task.clone(),
            format!("{} {}", task.schedule, task.timezone),
            format!("next {next}"),
            last,
            task.run.clone(),
        ]
    };
    or_empty(tasks.iter().map(row).collect(), "no scheduled tasks: cron in app.json, [[task]] in .commis/project.toml")
}

/// `#7 exit 0 in 1.2 s, 2026-11-28T03:30:00Z`.
fn last(run: &TaskRun) -> String {
    let at = moment(&run.started_at);
    let how = match (run.state.as_str(), run.exit, run.seconds) {
        ("ended", Some(exit), Some(seconds)) => format!("exit {exit} in {seconds:.1} s"),
        ("running", _, _) => "runs".to_owned(),
        (state, _, _) => format!("{state}: {}", run.note),
    };
    format!("#{} {how}, {at}", run.id)
}
