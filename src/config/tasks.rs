//! Scheduled tasks as a project declares them: `cron` of `app.json`, `[[task]]` of `.commis/project.toml`.
//!
//! Pure. What a line of cron means is `schedule`'s; when something starts is the room `tasks`'.

use super::kinds::{self, duration, text};
use super::schedule::{Schedule, UTC};
use super::settings::Settings;
use crate::model::{Code, Failure, Missed, Overlap, TaskName};
use serde_json::Value;
use std::time::Duration;

/// More are refused.
const MOST: usize = 100;

/// Name of the list in `.commis/project.toml`, and the keys of each.
pub(super) const LIST: (&str, &[&str]) =
    ("task", &["name", "run", "schedule", "timezone", "overlap", "missed", "timeout"]);

/// One scheduled task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    pub name: TaskName,
    /// A line of bash, as in a Procfile.
    pub run: String,
    pub schedule: Schedule,
    pub overlap: Overlap,
    pub missed: Missed,
    /// Longest time that it may run; `None`: as the server says.
    pub timeout: Option<Duration>,
}

/// Those of both files.
///
/// # Errors
/// `BadConfig` when two have one name, or there are too many.
pub fn all(cron: &[Task], own: &[Task]) -> Result<Vec<Task>, Failure> {
    let tasks: Vec<Task> = cron.iter().chain(own).cloned().collect();
    if tasks.len() > MOST {
        let what = format!("{} scheduled tasks in app.json and .commis/project.toml, and {MOST} at most", tasks.len());
        return Err(Failure::new(Code::BadConfig, what));
    }
    for (at, task) in tasks.iter().enumerate() {
        if tasks.iter().take(at).any(|other| other.name == task.name) {
            let what =
                format!("two scheduled tasks have the name {} (app.json cron, .commis/project.toml task)", task.name);
            return Err(Failure::new(Code::BadConfig, what).hint("give one of them another name"));
        }
    }
    Ok(tasks)
}

/// `[[task]]` of `.commis/project.toml`.
pub(super) fn read(from: &Settings) -> Result<Vec<Task>, Failure> {
    from.items(LIST.0).iter().map(|item| one(from, item)).collect()
}

fn one(from: &Settings, item: &str) -> Result<Task, Failure> {
    let key = |name: &str| format!("{item}.{name}");
    let zone = from.maybe(&key("timezone"), text("the name of a time zone, such as \"Europe/Paris\"", is_zone))?;
    let zone = zone.unwrap_or_else(|| UTC.to_owned());
    let line = from.need(&key("schedule"), text("a line of cron, such as \"*/5 * * * *\" or \"@daily\"", |_| true))?;
    Ok(Task {
        name: from
            .need(&key("name"), kinds::word("a name of lower-case letters, digits and dashes", TaskName::parse))?,
        run: from.need(&key("run"), text("a command, as in a Procfile", is_command))?,
        schedule: Schedule::parse(&line, &zone).map_err(|why| from.refuse(&key("schedule"), &why))?,
        overlap: from.maybe(&key("overlap"), kinds::word("skip, wait or kill", Overlap::parse))?.unwrap_or_default(),
        missed: from.maybe(&key("missed"), kinds::word("run or skip", Missed::parse))?.unwrap_or_default(),
        timeout: from.maybe(&key("timeout"), duration(1_000, 7 * 86_400_000))?,
    })
}

/// `cron` of `app.json`: `[{"command": .., "schedule": .., "name": ..}]`, the name ours.
pub(super) fn of_app_json(root: &Value) -> Result<Vec<Task>, Failure> {
    let wrong = |path: &str, why: &str| Failure::new(Code::BadConfig, format!("app.json: {path}: {why}"));
    let Some(list) = root.get("cron").filter(|list| !list.is_null()) else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(|| wrong("cron", "should be a list"))?;
    let read = |(at, entry): (usize, &Value)| {
        let path = |key: &str| format!("cron[{at}]{key}");
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        if !entry.is_object() {
            return Err(wrong(&path(""), "should be an object"));
        }
        let run = text("command").filter(|run| is_command(run));
        let line = text("schedule").ok_or_else(|| wrong(&path(".schedule"), "should be a line of cron"))?;
        let name = match entry.get("name").filter(|name| !name.is_null()) {
            None => TaskName::numbered(at + 1),
            Some(name) => name
                .as_str()
                .and_then(TaskName::parse)
                .ok_or_else(|| wrong(&path(".name"), "should be a name of lower-case letters, digits and dashes"))?,
        };
        Ok(Task {
            name,
            run: run.ok_or_else(|| wrong(&path(".command"), "should be a command, as in a Procfile"))?.to_owned(),
            schedule: Schedule::parse(line, UTC).map_err(|why| wrong(&path(".schedule"), &why))?,
            overlap: Overlap::default(),
            missed: Missed::default(),
            timeout: None,
        })
    };
    list.iter().enumerate().map(read).collect()
}

fn is_command(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= 4_000 && !text.chars().any(|c| c.is_control() && c != '\t')
}

fn is_zone(text: &str) -> bool {
    (1..=60).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AppJson, ProjectConfig};

    fn own(text: &str) -> Result<Vec<Task>, Failure> {
        ProjectConfig::parse(text, ".commis/project.toml").map(|config| config.tasks)
    }

    #[test]
    fn a_task_is_read_with_all_that_it_may_say() {
        let text = "[[task]]\nname = \"nightly\"\nrun = \"rake nightly\"\nschedule = \"@daily\"\ntimezone = \"Europe/Paris\"
            overlap = \"wait\"\nmissed = \"skip\"\ntimeout = \"10m\"\n[[task]]\nname = \"ping\"\nrun = \"ping\"\nschedule = \"*/5 * * * *\"";
        let tasks = own(text).unwrap();
        let shown = |task: &Task| format!("{} {:?} {:?} {:?}", task.name, task.schedule, task.overlap, task.missed);
        assert_eq!(shown(&tasks[0]), "nightly @daily Europe/Paris Wait Skip");
        assert_eq!(shown(&tasks[1]), "ping */5 * * * * UTC Skip Run");
        assert_eq!(tasks[0].timeout, Some(Duration::from_secs(600)));
        assert_eq!(own("").unwrap(), Vec::new());
    }

    #[test]
    fn a_bad_line_is_named_with_its_place() {
        let error = |text: &str| own(text).unwrap_err().what;
        let task = |more: &str| error(&format!("mode = \"final\"\n[[task]]\nname = \"a\"\nrun = \"b\"\n{more}"));
        assert_eq!(task("schedule = \"* *\""), ".commis/project.toml line 5: task[1].schedule: has 2 fields and not 5");
        assert_eq!(
            task(""),
            "task[1].schedule: is missing; should be a line of cron, such as \"*/5 * * * *\" or \"@daily\""
        );
        assert!(
            task("schedule = \"@daily\"\ntimezone = \"Paris/Europe\"").contains("names no time zone: Paris/Europe")
        );
        assert!(task("shedule = \"@daily\"").contains("line 5: task[1].shedule: unknown key"));
        assert!(
            task("schedule = \"@daily\"\noverlap = \"both\"").contains("task[1].overlap: should be skip, wait or kill")
        );
        assert!(error("[task]\nname = \"a\"").contains("task: should be a list of sections, [[task]]"));
        assert!(error("task = 3").contains("task: should be a list of sections, [[task]]"));
    }

    #[test]
    fn cron_of_app_json_is_read_as_others_write_it() {
        let read = |cron: &str| AppJson::parse(&format!("{{\"cron\": {cron}}}")).map(|app| app.cron);
        let tasks =
            read(r#"[{"command": "a", "schedule": "@daily"}, {"command": "b", "schedule": "0 3 * * *", "name": "x"}]"#);
        let names: Vec<String> = tasks.unwrap().iter().map(|task| task.name.to_string()).collect();
        assert_eq!(names, ["cron-1", "x"]);
        let error = |cron: &str| read(cron).unwrap_err().what;
        let seconds = error(r#"[{"command": "a", "schedule": "0 * * * * *"}]"#);
        assert_eq!(seconds, "app.json: cron[0].schedule: has 6 fields and not 5; there are no seconds");
        assert!(error(r#"[{"schedule": "@daily"}]"#).starts_with("app.json: cron[0].command: should be a command"));
        assert!(
            error(r#"[{"command": "a", "schedule": "@daily", "name": "A b"}]"#).contains("cron[0].name: should be")
        );
        assert_eq!(error("{}"), "app.json: cron: should be a list");
    }

    #[test]
    fn names_are_for_one_task() {
        let one = own("[[task]]\nname = \"cron-1\"\nrun = \"b\"\nschedule = \"@daily\"").unwrap();
        let failure = all(&one, &one).unwrap_err();
        assert!(failure.code == Code::BadConfig && failure.what.contains("have the name cron-1"));
        assert_eq!(all(&one, &[]).unwrap(), one);
    }
}
