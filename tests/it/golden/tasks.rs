//! Answers about scheduled tasks, every optional part of them present, for the page of answers.

use super::pages::value;
use commis::operations::records;
use serde_json::{Value, json};

pub fn samples() -> Vec<(&'static str, Value)> {
    let run = json!({
        "id": 7, "project": "blog", "task": "nightly", "cause": "manual", "actor": "jane", "due_at": "t", "started_at": "t",
        "finished_at": "t", "seconds": 1.0, "release": "v1", "state": "ended", "exit": 0, "note": "exit 0",
    });
    let run: records::TaskRun = serde_json::from_value(run).unwrap();
    let task = records::ScheduledTask {
        task: "nightly".into(),
        run: "rake nightly".into(),
        schedule: "@daily".into(),
        timezone: "UTC".into(),
        overlap: "skip".into(),
        missed: "run".into(),
        timeout_seconds: 3600,
        next: Some("t".into()),
        last: Some(run.clone()),
    };
    vec![("Task", value(&task)), ("Task run", value(&run))]
}
