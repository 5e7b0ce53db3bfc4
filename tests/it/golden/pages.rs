//! Pages of documentation that must say what the program does: `docs/verbs.md` is written from the tree of verbs,
//! `docs/json.md` is written by people and compared with real answers.

use super::{root, settle};
use clap::{Arg, Command, CommandFactory};
use commis::model::{Code, Failure};
use commis::operations::{outcome, records};
use commis::verbs::Invocation;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn the_page_of_verbs_is_what_the_program_understands() {
    let (mut index, mut rest) = (String::new(), String::new());
    for (path, command) in leaves(&Invocation::command(), "commis") {
        let about = about(&command);
        index.push_str(&format!("| [`{path}`](#{}) | {about} |\n", path.replace(' ', "-")));
        rest.push_str(&format!("\n## {path}\n\n{about}.\n\n{}", body(command, &path)));
    }
    let head = "# Verbs\n\n\
        <!-- Written by a test from src/verbs/grammar.rs; see CONTRIBUTING.md. -->\n\n\
        On the server `commis VERB`; from anywhere `ssh -p PORT commis@HOST VERB`. Each takes `--json` ([shapes and exit\n\
        codes](json.md)) and `--help`. Spellings of Heroku and Dokku (`apps:create`, `config:set`, `ps`, `-a NAME`) work too.\n\
        The server itself is started with `commis serve --config FILE`.\n\n\
        | verb | |\n|---|---|\n";
    settle("docs/verbs.md", &format!("{head}{index}{rest}"));
}

fn leaves(command: &Command, path: &str) -> Vec<(String, Command)> {
    let children = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let of = |sub: &Command| {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() { leaves(sub, &path) } else { vec![(path, sub.clone())] }
    };
    children.flat_map(of).collect()
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn body(command: Command, path: &str) -> String {
    let mut command = command.bin_name(path);
    let usage = command.render_usage().to_string();
    let mut text = format!("    {}\n\n", usage.trim_start_matches("Usage: "));
    for argument in
        command.get_arguments().filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
    {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(!help.is_empty(), "{path}: {} says nothing", argument.get_id());
        text.push_str(&format!("- `{}`: {help}\n", spelling(argument)));
    }
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<&str> = examples.lines().skip(1).map(str::trim).collect();
    assert!(!examples.is_empty(), "{path} has no example");
    text.push_str(&format!("\n```sh\n{}\n```\n", examples.join("\n")));
    text
}

fn spelling(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first()).map(|name| format!("<{name}>"));
    let takes_value = argument.get_action().takes_values();
    match (argument.get_long(), argument.get_short()) {
        (Some(long), short) => {
            let short = short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
            let value = value.filter(|_| takes_value).map(|value| format!(" {value}")).unwrap_or_default();
            format!("{short}--{long}{value}")
        }
        (None, _) => value.unwrap_or_default(),
    }
}

#[test]
fn the_page_of_answers_names_every_key_of_every_answer() {
    let page = fs::read_to_string(root().join("docs/json.md")).unwrap();
    for (title, answer) in samples().into_iter().chain(shelf_samples()) {
        assert_eq!(documented(&page, title), keys(&answer), "docs/json.md, section \"{title}\"");
    }
}

#[test]
fn the_page_of_answers_has_every_code_with_its_numbers() {
    let page = fs::read_to_string(root().join("docs/json.md")).unwrap();
    for code in Code::ALL {
        let row = format!("| `{}` | {} | {} |", code.as_str(), outcome::exit_code(code), outcome::http_status(code));
        assert!(page.contains(&row), "docs/json.md should have a row that begins with\n{row}");
    }
    let rows = documented(&page, "Codes").len();
    assert_eq!(rows, Code::ALL.len(), "docs/json.md has rows of codes that are none");
}

#[test]
fn a_key_that_the_page_does_not_name_is_seen() {
    let page = "## One\n\n| `a` | x |\n| `b` | y |\n\n## Two\n| `c` | z |\n";
    assert_eq!(documented(page, "One"), keys(&json!({"a": 1, "b": [{"c": 2}]})));
    assert_ne!(documented(page, "One"), keys(&json!({"a": 1})));
    assert!(documented(page, "Three").is_empty());
}

/// Names in the first column of a section's table.
fn documented(page: &str, title: &str) -> BTreeSet<String> {
    let heading = format!("## {title}");
    let section = page.lines().skip_while(|line| *line != heading).skip(1);
    let rows = section.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect()
}

fn keys(answer: &Value) -> BTreeSet<String> {
    answer.as_object().unwrap().keys().cloned().collect()
}

/// One real answer for each section, every optional part of it present.
fn samples() -> Vec<(&'static str, Value)> {
    let deployment = deployment();
    let project = records::Project {
        project: "blog".into(),
        mode: "cooking".into(),
        live: Some("v1".into()),
        commit: Some("c".into()),
        url: "u".into(),
        remote: Some("r".into()),
        edited_in: Some("p".into()),
        created_at: "t".into(),
        trouble: Some("w".into()),
        processes: vec![process()],
        deployments: vec![deployment.clone()],
    };
    let variable = records::Variable { name: "A".into(), value: Some("1".into()) };
    let done = records::Reply::Done { done: "d".into(), changed: true };
    let host_key = records::Reply::HostKey { known_hosts: "k".into(), fingerprint: "f".into() };
    let config = records::Reply::Config { project: "blog".into(), variables: vec![variable.clone()] };
    let check = records::Check { verdict: "ok".into(), check: "git".into(), found: "f".into() };
    let samples = vec![
        ("Deployment", value(&deployment)),
        ("Step", value(&deployment.steps[0])),
        ("Artifact", value(&deployment.artifacts[0])),
        ("Project", value(&project)),
        ("Process", value(&process())),
        ("Release", value(&release())),
        ("Key", value(&key())),
        ("Release head", head()),
        ("Configuration", value(&config)),
        ("Variable", value(&variable)),
        ("Checked", checked()),
        ("Check", value(&check)),
        ("Status", value(&status())),
        ("Host key", value(&host_key)),
        ("Done", value(&done)),
        ("Error", failure()),
    ];
    [samples, edit_samples(), super::disks::samples(), super::data::samples(), super::tasks::samples()].concat()
}

fn edit_samples() -> Vec<(&'static str, Value)> {
    vec![("Edits", value(&edits())), ("Edited file", value(&edits().files[0]))]
}

fn shelf_samples() -> Vec<(&'static str, Value)> {
    vec![
        ("Verified", value(&verified())),
        ("Signer", value(&signer())),
        ("Retention", value(&retention())),
        ("Retained", value(&retained())),
    ]
}

pub(super) fn value(answer: &impl serde::Serialize) -> Value {
    serde_json::to_value(answer).unwrap()
}

fn checked() -> Value {
    let template = root().join("src/config/server.toml");
    serde_json::from_str(&commis::cli::local::check(Some(&template), true).unwrap()).unwrap()
}

fn failure() -> Value {
    let text = commis::api::answer::failure_json(&Failure::new(Code::NotFound, "no project \"nope\""));
    serde_json::from_str::<Value>(&text).unwrap()["error"].clone()
}

pub(super) fn deployment() -> records::Deployment {
    let step = json!({"phase": "build", "name": "compile", "status": "done", "start": "t", "seconds": 1.0, "note": ""});
    let artifact = json!({"name": "n", "sha256": "s", "size": 1});
    let record = json!({
        "id": 1, "project": "blog", "environment": "staging", "mode": "cooking", "trigger": "push", "ref": "r",
        "commit": "c", "previous": "p", "pillar_commit": "q", "subject": "s", "release": "v1", "status": "failure",
        "reason_code": "build-failed", "reason": "r", "rolled_back": false, "actor": "jane", "queued_at": "t",
        "started_at": "t", "finished_at": "t", "seconds": 1.0, "steps": [step], "artifacts": [artifact], "url": "u",
        "downtime_seconds": 1.0, "discarded_writes": {"from": "t", "to": "t"},
        "data": {"state": "restored", "backup": "done", "bytes": 1},
    });
    serde_json::from_value(record).unwrap()
}

pub(super) fn process() -> records::Process {
    records::Process {
        process: "web.1".into(),
        state: "running".into(),
        pid: Some(1),
        restarts: 0,
        release: Some("v1".into()),
    }
}

fn release() -> records::Release {
    records::Release {
        release: "v1".into(),
        commit: "c".into(),
        pillar_commit: Some("p".into()),
        live: true,
        was_live: true,
        created_at: "t".into(),
        archive: records::Artifact { name: "n".into(), sha256: "s".into(), size: 1 },
        artifacts: vec![records::Artifact { name: "n".into(), sha256: "s".into(), size: 1 }],
        rollback: "code".into(),
        backup: Some(records::Backup { deployment: 1, at: "t".into(), size: 1 }),
        pinned: false,
        origin: "cooked".into(),
        signed_by: Some("staging".into()),
        tested_at: Some("t".into()),
    }
}

fn retained() -> records::Retained {
    records::Retained { release: "v1".into(), size: 1, goes: None, because: "live".into() }
}

fn retention() -> records::Reply {
    records::Reply::Retention { project: "blog".into(), retained: vec![retained()], total: 1, max_bytes: None }
}

fn verified() -> records::VerifiedRelease {
    let record = json!({
        "project": "blog", "release": "v1", "verified": true, "sha256": "s", "size": 1, "files": 1, "bytes": 1,
        "tree_sha256": "s", "environment": "staging", "signer": "f", "live_at": "t",
    });
    serde_json::from_value(record).unwrap()
}

fn signer() -> records::Signed {
    records::Signed { allowed_signers: "l".into(), environment: "staging".into(), fingerprint: "f".into() }
}

fn head() -> Value {
    let artifact = json!({"name": "n", "sha256": "s", "size": 1});
    let head = json!({
        "project": "blog", "release": "v1", "commit": "c", "environment": "staging", "live": true, "tested_at": "t",
        "created_at": "t", "tree_bytes": 1, "runs_at": "d", "artifacts": [artifact],
    });
    value(&serde_json::from_value::<records::ReleaseHead>(head).unwrap())
}

fn edits() -> records::Diff {
    let file = records::EditedFile { path: "p".into(), edited: "added".into(), added: Some(1), removed: Some(0) };
    records::Diff { project: "blog".into(), base: "c".into(), files: vec![file], diff: Some("d".into()), cut: false }
}

fn key() -> records::Key {
    records::Key {
        name: "jane".into(),
        fingerprint: "f".into(),
        rank: "admin".into(),
        projects: Vec::new(),
        rights: Vec::new(),
        added_at: "t".into(),
    }
}

fn status() -> records::Status {
    records::Status {
        version: "0".into(),
        platform: "staging".into(),
        ssh: "s".into(),
        http: "h".into(),
        projects: 1,
        live: 1,
        need_admin: 0,
        deploying: Vec::new(),
        free_bytes: 1,
        housekeeping: Some(records::Round::default()),
    }
}

/// Files that the documents name, in backticks or links, are there: rustdoc checks only what is a path of Rust.
#[test]
fn files_that_documents_name_are_there() {
    let pages = ["src/lib.rs", "README.md", "CONTRIBUTING.md", "docs/design.md", "docs/security.md", "hooks/README.md"];
    let gone: Vec<String> = pages
        .iter()
        .flat_map(|page| {
            let text = fs::read_to_string(root().join(page)).unwrap();
            missing(&text).into_iter().map(move |name| format!("{page}: {name}"))
        })
        .collect();
    assert_eq!(gone, Vec::<String>::new());
}

/// Names of files between backticks that are nowhere.
fn missing(text: &str) -> Vec<String> {
    let names = text.split('`').skip(1).step_by(2).filter(|name| !name.contains([' ', '<', '*', ':', '…']));
    let files = names
        .filter(|name| name.contains('/') && [".rs", ".md", ".toml", ".txt"].iter().any(|end| name.ends_with(end)));
    let places = ["", "src/", "src/pipeline/"];
    // What lies in a project of a user is not ours.
    let ours = files.filter(|name| !name.starts_with('.') && !name.starts_with('/'));
    ours.filter(|name| !places.iter().any(|place| root().join(place).join(name).exists())).map(str::to_owned).collect()
}

#[test]
fn a_file_that_is_gone_is_seen() {
    assert_eq!(missing("`src/lib.rs` `execute/undo.rs` `docs/gone.md` `.commis/project.toml`"), ["docs/gone.md"]);
}
