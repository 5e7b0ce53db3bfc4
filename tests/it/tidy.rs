//! The architecture, as tables: which room may use which, which files only decide, how large things may get.
//!
//! This is the tree's only architecture police. Change a table here when the house changes, and say why in the commit.
//! The rules are in `tidy/checks.rs`; each is shown a bad sample in `tidy/controls.rs`, so that it cannot go blind.

mod checks;
mod controls;
mod functions;
mod paths;
mod source;

use checks::Complaint;
use source::Source;
use std::fs;
use std::path::Path;

/// Rooms from foundation to roof, and what each may use besides itself.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    ("system", &["model"]),
    ("layouts", &["model"]),
    ("hooks", &["model", "layouts"]),
    ("buildpacks", &["model", "layouts", "system"]),
    ("sandbox", &["model", "system"]),
    ("git", &["model", "system"]),
    ("trees", &["model", "system"]),
    ("backups", &["model", "system", "trees"]),
    ("archives", &["model", "system", "trees"]),
    ("storage", &["model", "system"]),
    ("router", &["model", "system"]),
    ("runtime", &["model", "sandbox", "system"]),
    ("store", &["model", "system"]),
    ("notify", &["model", "system"]),
    // Another server is asked through a configuration of its own.
    ("upstream", &["model", "config", "system"]),
    // What is due, of what projects declare.
    ("tasks", &["model", "config"]),
    ("pipeline", BEFORE_PIPELINE),
    // What can be said to a server, as data; who carries it out comes next.
    ("verbs", &["model"]),
    ("operations", BEFORE_OPERATIONS),
    // Has a trait of its own for what it calls; the roof connects it.
    ("ssh", &["model", "layouts", "system"]),
    ("api", &["model", "config", "system", "operations", "verbs"]),
    // The terminal at which somebody sits is the kernel's.
    ("cli", &["model", "config", "system", "layouts", "api", "verbs"]),
    ("server", EVERYTHING),
];

#[rustfmt::skip]
const BEFORE_PIPELINE: &[&str] = &[
    "model", "config", "system", "layouts", "hooks", "buildpacks", "sandbox", "git", "trees", "backups", "archives", "storage", "router", "runtime", "store", "notify",
    "upstream",
];
#[rustfmt::skip]
const BEFORE_OPERATIONS: &[&str] = &[
    "model", "config", "system", "layouts", "hooks", "buildpacks", "sandbox", "git", "trees", "backups", "archives", "storage", "router", "runtime", "store", "notify",
    "upstream", "tasks", "pipeline", "verbs",
];
#[rustfmt::skip]
const EVERYTHING: &[&str] = &[
    "model", "config", "system", "layouts", "hooks", "buildpacks", "sandbox", "git", "trees", "backups", "archives", "storage", "router", "runtime", "store", "notify",
    "upstream", "tasks", "pipeline", "operations", "verbs", "ssh", "api", "cli",
];

/// Files that only decide, besides those whose head says "Pure". `*` is every file below, except those with a `!`.
const PURE: &[&str] = &[
    "src/model/*",
    "src/config/*",
    "!src/config/load.rs",
    "src/layouts/*",
    "src/hooks/*",
    "src/buildpacks/detect.rs",
    "src/buildpacks/contract.rs",
    "src/git/pktline.rs",
    "src/git/proc_receive.rs",
    "src/archives/manifest.rs",
    "src/archives/retention.rs",
    "src/storage/enlarging.rs",
    "src/storage/fitting.rs",
    "src/router/table.rs",
    "src/runtime/machine.rs",
    "src/pipeline/plan.rs",
    "src/pipeline/step.rs",
    "src/pipeline/queue.rs",
    "src/pipeline/rollback.rs",
    "src/pipeline/data.rs",
    "src/pipeline/phases/*",
    "src/notify/words.rs",
    "src/operations/authorize.rs",
    "src/operations/outcome.rs",
    "src/ssh/request.rs",
];

const BANNED_NAMES: &[&str] = &["utils", "helpers", "common", "manager", "misc", "base", "impl"];

/// What breaks a rule and may: (place, rule, because). One that is no longer needed fails, so that the list only shrinks.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("src/operations/keys.rs", "edges", "what a public key is, is said once, by the door that checks it"),
    ("src/cli/mod.rs", "edges", "exit codes are in operations/outcome.rs, the one map from failures to the outside"),
    ("src/pipeline/launch.rs", "shells", "lines of a Procfile are bash's by contract; they are passed as one argument"),
];

#[test]
fn rooms_use_only_the_rooms_below_them() {
    settle(rust("src").iter().flat_map(|source| checks::edges(source, EDGES)).collect(), "edges");
}

#[test]
fn every_room_is_in_the_table_and_every_entry_is_a_room() {
    let found: Vec<String> = rust("src").iter().filter_map(|source| source.room().map(str::to_string)).collect();
    for (room, uses) in EDGES {
        assert!(found.iter().any(|name| name == room), "the table of edges names `{room}`, which is no room");
        let above = EDGES.iter().skip_while(|(name, _)| name != room).map(|(name, _)| *name);
        let upward: Vec<&str> = above.filter(|name| uses.contains(name)).collect();
        assert!(upward.is_empty(), "`{room}` may use {upward:?} by the table, but they are not below it");
    }
}

#[test]
fn every_file_opens_with_what_lives_there() {
    let files = [rust("src"), rust("tests/it"), rust("tests/faults")].concat();
    settle(files.iter().flat_map(checks::head).collect(), "head");
}

#[test]
fn deciding_files_touch_nothing() {
    let sources = rust("src");
    for listed in PURE.iter().filter(|listed| !listed.ends_with('*')) {
        let path = listed.trim_start_matches('!');
        assert!(
            !room_is_built(path) || root().join(path).is_file(),
            "the list of pure files names {path}, which is gone"
        );
    }
    settle(
        sources.iter().filter(|source| is_pure(&source.path) || source.says_pure()).flat_map(checks::purity).collect(),
        "purity",
    );
}

#[test]
fn names_say_what_is_inside() {
    settle(committed("").iter().flat_map(|(path, _)| checks::banned_name(path, BANNED_NAMES)).collect(), "names");
}

#[test]
fn files_and_functions_stay_small() {
    let scripts = |path: &str| [".rs", ".py", ".sh"].iter().any(|end| path.ends_with(end)) || path.contains("bin/");
    let files = committed("").into_iter().filter(|(path, _)| scripts(path));
    let long_files: Vec<Complaint> = files.flat_map(|(path, text)| checks::file_size(&path, &text)).collect();
    let functions = [rust("src"), rust("tests/it"), rust("tests/faults")].concat();
    let large_functions: Vec<Complaint> = functions.iter().flat_map(checks::function_size).collect();
    settle([long_files, large_functions].concat(), "size");
}

#[test]
fn the_server_neither_unwraps_nor_shells_out() {
    settle(rust("src").iter().flat_map(checks::panics).collect(), "panics");
    settle(rust("src").iter().flat_map(checks::shells).collect(), "shells");
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let check = |(path, text): (String, String)| {
        [checks::machine_paths(&path, &text), checks::registries(&path, &text)].concat()
    };
    settle(committed("").into_iter().flat_map(check).collect(), "machine");
}

#[test]
fn every_file_of_tests_is_run() {
    let entries = fs::read_dir(root().join("tests/it")).unwrap().map(|entry| entry.unwrap().path());
    let stems = entries.map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    let main = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    settle(checks::forgotten_tests(&stems.collect::<Vec<_>>(), &main), "tests");
}

/// Fails with every complaint that no exception excuses, and with every exception that excuses nothing.
fn settle(complaints: Vec<Complaint>, rule: &str) {
    let excused = |complaint: &Complaint| {
        EXCEPTIONS.iter().any(|(place, rule, _)| *place == complaint.place && *rule == complaint.rule)
    };
    let open: Vec<&str> = complaints.iter().filter(|c| !excused(c)).map(|c| c.text.as_str()).collect();
    assert!(open.is_empty(), "\n{}\n", open.join("\n"));
    for (place, excused_rule, because) in EXCEPTIONS.iter().filter(|(_, excused_rule, _)| *excused_rule == rule) {
        assert!(because.len() > 20, "the exception for {place} needs a reason");
        let used = complaints.iter().any(|complaint| complaint.place == *place);
        assert!(used, "the exception of {place} from `{excused_rule}` is no longer needed: remove it");
    }
}

/// A room whose door sign lists at least one file. Until then its files are still to come.
fn room_is_built(path: &str) -> bool {
    let room = path.split('/').nth(1).unwrap_or_default();
    let sign = fs::read_to_string(root().join(format!("src/{room}/mod.rs"))).unwrap_or_default();
    sign.lines().any(|line| line.contains("mod ") && line.ends_with(';'))
}

fn is_pure(path: &str) -> bool {
    let left_out = PURE.iter().any(|listed| listed.strip_prefix('!') == Some(path));
    let listed =
        PURE.iter().any(|listed| listed.strip_suffix('*').map_or(*listed == path, |folder| path.starts_with(folder)));
    listed && !left_out
}

/// Every Rust file below a folder.
fn rust(folder: &str) -> Vec<Source> {
    let files = committed(folder).into_iter().filter(|(path, _)| path.ends_with(".rs"));
    let mut sources: Vec<Source> = files.map(|(path, text)| Source::new(&path, &text)).collect();
    let for_tests: Vec<String> = sources.iter().flat_map(source::test_modules).collect();
    for source in sources.iter_mut().filter(|source| for_tests.contains(&source.path)) {
        source.in_tests.fill(true);
    }
    sources
}

/// (path, text) of every text file below a folder that is ours: no build results, nothing hidden but `.ci` and `.commis`.
fn committed(folder: &str) -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![root().join(folder)]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = !name.starts_with('.') || matches!(name.as_str(), ".ci" | ".commis");
            let path = entry.path();
            let built = matches!(name.as_str(), "target" | "node_modules" | "__pycache__");
            if ours && !built && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            } else if ours && let Ok(text) = fs::read_to_string(&path) {
                let inside = path.strip_prefix(root()).unwrap_or(&path);
                found.push((inside.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
