//! The bench as far as it can be looked at without measuring: its scripts load, every row has a goal, and what it says of
//! itself in the documents is so.

use std::path::PathBuf;
use std::process::{Command, Output};

fn bench(words: &[&str]) -> Output {
    Command::new("python3").arg(root().join("bin/bench")).args(words).output().expect("python3")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names and goals, as `bin/bench --list` has them.
fn rows() -> Vec<(String, f64)> {
    let listed = bench(&["--list"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).expect("text");
    let row = |line: &str| {
        let (name, goal) = line.split_once('≤').unwrap_or_else(|| panic!("no goal in {line:?}"));
        (name.trim().to_owned(), goal.trim().parse().expect("a number"))
    };
    text.lines().map(row).collect()
}

#[test]
fn the_bench_lists_its_rows_with_their_goals_and_measures_nothing() {
    let rows = rows();
    for promised in [
        "push-100m",
        "memory-peak",
        "tree-materialise",
        "tree-verify",
        "bundle",
        "rebundle-one-file",
        "unpack",
        "memory-unpack",
        "rollback",
        "backup",
        "recovery",
    ] {
        assert!(rows.iter().any(|(name, goal)| name == promised && *goal > 0.0), "{promised} is not in {rows:?}");
    }
}

#[test]
fn every_row_of_the_bench_is_explained_in_the_documents_with_its_goal() {
    let text = std::fs::read_to_string(root().join("docs/performance.md")).expect("docs/performance.md");
    for (name, goal) in rows() {
        let line = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let line = line.unwrap_or_else(|| panic!("docs/performance.md does not explain {name}"));
        assert!(line.contains(&format!("≤ {goal}")), "{name} has the goal {goal}, and the document says {line}");
    }
}

#[test]
fn a_row_that_does_not_exist_is_an_error_and_not_an_empty_table() {
    let asked = bench(&["--list", "--only", "no-such-row"]);
    assert_eq!(asked.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("no-such-row"));
}
