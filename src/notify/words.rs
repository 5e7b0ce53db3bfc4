//! The sentences of a deployment, as its log and terminal show them. The only place for them. Pure.
//!
//! Grammar: `-----> ` opens a step, seven blanks a detail, `=====> ` the result; verdicts begin in the first column
//! with a word that git colours (`success:`, `error:`, `warning:`, `hint:`). Our own lines fit in 72 columns.

use super::filter::clean_line;
use crate::model::{Because, Code, CommitId, DeploymentNumber, Failure, ProjectName, ReleaseVersion, Time};

/// Columns of a line: git puts `remote: ` in front.
pub const WIDTH: usize = 72;

/// The six numbered steps that people see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Build,
    Package,
    /// Instead of `Build`, for a release that is ready.
    Fetch,
    /// Instead of `Package`.
    Unpack,
    BackUp,
    Switch,
    Check,
    Tidy,
}

impl Stage {
    pub fn number(self) -> u8 {
        match self {
            Stage::Build | Stage::Fetch => 1,
            Stage::Package | Stage::Unpack => 2,
            Stage::BackUp => 3,
            Stage::Switch => 4,
            Stage::Check => 5,
            Stage::Tidy => 6,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Stage::Build => "Build",
            Stage::Package => "Package",
            Stage::Fetch => "Fetch and verify",
            Stage::Unpack => "Unpack",
            Stage::BackUp => "Back up",
            Stage::Switch => "Switch",
            Stage::Check => "Check",
            Stage::Tidy => "Tidy",
        }
    }
}

/// `-----> [2/6] Package   blog-v42-3f9c2e1.tar.zst 38 MB        0:43`, the time since the start at the right.
pub fn stage(stage: Stage, text: &str, elapsed_seconds: Option<u64>) -> String {
    let left = format!("-----> [{}/6] {:<9} {text}", stage.number(), stage.title());
    let Some(seconds) = elapsed_seconds else { return cut(&left, WIDTH) };
    let right = format!("{}:{:02}", seconds / 60, seconds % 60);
    let room = WIDTH - right.len() - 1;
    let left = cut(&left, room);
    let pad = WIDTH.saturating_sub(left.chars().count() + right.len());
    format!("{left}{:pad$}{right}", "")
}

pub fn skipped(because: Because) -> String {
    format!("skipped: {}", because.words())
}

/// The first line of a deployment.
pub fn opening(
    project: &ProjectName,
    number: DeploymentNumber,
    commit: &CommitId,
    subject: &str,
    platform: &str,
) -> String {
    let fixed = format!("-----> {project}: deploy {number} of {} \"\" to {platform}", commit.short());
    let room = WIDTH.saturating_sub(fixed.chars().count());
    format!("-----> {project}: deploy {number} of {} \"{}\" to {platform}", commit.short(), cut(subject, room))
}

/// The first line of a deployment of a release from elsewhere.
pub fn promoting(
    project: &ProjectName,
    number: DeploymentNumber,
    version: ReleaseVersion,
    (from, to): (&str, &str),
) -> String {
    format!("-----> {project}: deploy {number}, {version} from {from} to {to}")
}

/// What the tree of a release that is ready is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    Archive,
    /// It is there already, as it was when it was replaced.
    Kept,
}

/// Of a release that was deployed before.
pub fn ready(version: ReleaseVersion, from: Ready) -> String {
    match from {
        Ready::Archive => format!("{version} is ready"),
        Ready::Kept => format!("{version} is ready, its tree was kept"),
    }
}

/// A line that a script printed, already cleaned and redacted.
pub fn script_line(line: &str) -> String {
    let text = line.strip_prefix("       ").unwrap_or(line);
    if let Some(head) = text.strip_prefix("-----> ") { format!("       {head}") } else { format!("       {text}") }
}

pub fn detail(text: &str) -> String {
    format!("       {text}")
}

/// `success: blog v42 is live (12.3 s)` and where.
pub fn live(project: &ProjectName, version: ReleaseVersion, seconds: f64, url: Option<&str>) -> Vec<String> {
    let mut lines = vec![format!("success: {project} {version} is live ({})", duration(seconds))];
    if let Some(url) = url {
        lines.push("=====> Application deployed:".into());
        lines.push(detail(url));
    }
    lines
}

/// What was asked for serves, and nothing had to be done.
pub fn live_already(project: &ProjectName, version: ReleaseVersion, since: DeploymentNumber) -> String {
    format!("success: {project} {version} is live already, since deploy {since}")
}

/// A failure, what serves now, and what next.
pub fn failure(failure: &Failure, serving: &str) -> Vec<String> {
    let mut lines = verdict("error", &failure.what);
    lines.extend(failure.details.iter().map(|line| detail(line)));
    lines.push(detail(serving));
    lines.extend(failure.hints.iter().flat_map(|hint| verdict("hint", hint)));
    lines
}

/// What next, where the failure itself does not say: every failure ends with something to do.
pub fn with_hint(failure: Failure) -> Failure {
    if !failure.hints.is_empty() || failure.code != Code::BadConfig {
        return failure;
    }
    if failure.what.starts_with("pillar") {
        return failure.hint("put it right in the pillar repository, push that, then push this again");
    }
    failure.hint("put it right, commit, push again")
}

/// `error: ...` in lines of at most 72 columns, continued below the text; a word longer than a line stays whole, so
/// that it can be copied.
pub fn verdict(word: &str, text: &str) -> Vec<String> {
    let mut parts = text.split(' ');
    let mut lines = vec![format!("{word}: {}", parts.next().unwrap_or_default())];
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + part.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(part);
            }
            _ => lines.push(detail(part)),
        }
    }
    lines
}

/// What serves after a failure: `nothing was changed: blog v41 (a1b2c3d) is still live`.
pub fn still_serving(project: &ProjectName, live: Option<(ReleaseVersion, &str)>) -> String {
    match live {
        Some((version, commit)) => format!("nothing was changed: {project} {version} ({commit}) is still live"),
        None => format!("nothing was changed: {project} has no live release yet"),
    }
}

/// `deploy #43 is live` for those who waited.
pub fn waiting(project: &ProjectName, holder: &str, position: usize, number: DeploymentNumber) -> Vec<String> {
    let place = match position {
        0 => format!("You are next ({number})."),
        n => format!("{n} before you ({number})."),
    };
    vec![format!("-----> {project} is busy: {holder}"), detail(&place)]
}

/// The turn has come, for those who waited.
pub fn turn(number: DeploymentNumber) -> String {
    format!("-----> Your turn: deploy {number} starts")
}

/// `1:05` for the silence line.
pub fn still_at_it(what: &str, seconds: u64) -> String {
    detail(&format!("still {what}, {}:{:02}", seconds / 60, seconds % 60))
}

/// Whether there is a point after which nobody cancels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// In step 4.
    Passed,
    None,
}

/// What Ctrl-C does.
pub fn ctrl_c(gate: Gate) -> &'static str {
    match gate {
        Gate::Passed => "Ctrl-C cancels until step 4; from there it only detaches",
        Gate::None => "Ctrl-C cancels",
    }
}

/// `for 7 days, until 2026-12-04`: the day of UTC on which it goes.
pub fn for_days(days: u32, now: Time) -> String {
    let end = Time(now.0.saturating_add(i64::from(days) * 86_400_000));
    let end = jiff::Timestamp::from_millisecond(end.0).unwrap_or(jiff::Timestamp::MAX);
    format!("for {days} days, until {}", end.strftime("%Y-%m-%d"))
}

/// `1 file`, `2 files`.
pub fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// `a, b, ...`: at most so many of a list.
pub fn some_of(list: &[String], most: usize) -> String {
    let more = if list.len() > most { ", ..." } else { "" };
    let shown: Vec<&str> = list.iter().take(most).map(String::as_str).collect();
    format!("{}{more}", shown.join(", "))
}

/// `0.4 s`, `59 s`, `2 min 5 s`.
pub fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 120.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{} min {} s", seconds as u64 / 60, seconds as u64 % 60)
    }
}

/// `512 B`, `38 kB`, `1.2 MB`, decimal units.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// The reason of a rejected ref: `build-failed: pip install, exit 1; live=v41; deploy=43`.
pub fn rejection(failure: &Failure, live: Option<ReleaseVersion>, number: Option<DeploymentNumber>) -> String {
    let live = live.map_or("none".to_owned(), |version| version.to_string());
    let number = number.map_or("none".to_owned(), |number| number.0.to_string());
    format!(
        "{}: {}; live={live}; deploy={number}",
        failure.code.as_str(),
        cut(&clean_line(failure.what.as_bytes()), 300)
    )
}

/// At most `columns` characters, an ellipsis where something was cut.
pub fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage_lines_are_seventy_two_columns_with_the_time_at_the_right() {
        let line = stage(Stage::Package, "blog-v42-3f9c2e1.tar.zst 38 MB", Some(43));
        assert_eq!(line, "-----> [2/6] Package   blog-v42-3f9c2e1.tar.zst 38 MB               0:43");
        assert_eq!(stage(Stage::Build, &"x".repeat(100), Some(5)).chars().count(), WIDTH);
    }

    #[test]
    fn a_script_cannot_open_a_step_or_speak_a_verdict_in_the_first_column() {
        for line in ["-----> Installing", "=====> done", "success: live", "       indented"] {
            assert!(script_line(line).starts_with("       "), "{line}");
        }
        assert_eq!(script_line("-----> Installing"), "       Installing");
    }

    #[test]
    fn a_long_verdict_goes_on_below_and_no_word_is_cut() {
        assert_eq!(verdict("hint", "push again"), ["hint: push again"]);
        let lines = verdict("error", &format!("{} {} end", "word ".repeat(13).trim(), "x".repeat(80)));
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], format!("error: {}", "word ".repeat(13).trim()));
        assert_eq!(lines[1..], [detail(&"x".repeat(80)), detail("end")]);
    }

    #[test]
    fn a_rejection_is_one_line_with_code_live_and_deploy() {
        let failure = Failure::new(Code::BuildFailed, "pip install: exit 1");
        assert_eq!(
            rejection(&failure, Some(ReleaseVersion(41)), Some(DeploymentNumber(43))),
            "build-failed: pip install: exit 1; live=v41; deploy=43"
        );
    }

    #[test]
    fn what_is_kept_for_days_says_until_when() {
        let day = Time(1_795_816_000_000);
        assert_eq!(for_days(7, day), "for 7 days, until 2026-12-04");
        assert_eq!([files(0), files(1), files(2)], ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn sizes_and_durations_read_well() {
        assert_eq!([size(512), size(38_000), size(1_200_000), size(38_000_000)], ["512 B", "38 kB", "1.2 MB", "38 MB"]);
        assert_eq!([duration(0.44), duration(59.0), duration(125.0)], ["0.4 s", "59 s", "2 min 5 s"]);
    }
}
