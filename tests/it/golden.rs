//! Files that a test writes and a person reads: compared each time, written again with `COMMIS_BLESS=1 bin/test golden`.
//! Plans are in [`plans`], pages of documentation in [`pages`].

mod data;
mod disks;
mod pages;
mod plans;
mod tasks;

use std::fs;
use std::path::{Path, PathBuf};

/// The variable that writes the files instead of comparing them.
const BLESS: &str = "COMMIS_BLESS";

/// Fails when a file of the repository is not this text, or writes it there when asked to.
fn settle(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os(BLESS).is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        return;
    }
    if let Some(difference) = difference(&fs::read_to_string(&file).unwrap_or_default(), text) {
        panic!("{path} is stale: {difference}\nif that is right: {BLESS}=1 bin/test golden, then read git diff");
    }
}

/// The first line in which two texts differ.
fn difference(there: &str, here: &str) -> Option<String> {
    if there == here {
        return None;
    }
    let (there, here): (Vec<&str>, Vec<&str>) = (there.lines().collect(), here.lines().collect());
    let at = (0..).find(|at| there.get(*at) != here.get(*at) || there.get(*at).is_none())?;
    let show = |lines: &[&str]| lines.get(at).map_or("(the end)".to_owned(), |line| format!("{line:?}"));
    Some(format!("line {} is {}, and should be {}", at + 1, show(&there), show(&here)))
}

/// Files below a directory of `tests` that no test writes.
fn strangers(directory: &str, ours: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let name = format!("{directory}/{}", entry.unwrap().file_name().to_string_lossy());
        found.extend((!ours.contains(&name)).then_some(name));
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

#[test]
fn a_golden_file_that_differs_is_seen() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(difference("a\nb\n", "a\nc\n").unwrap(), "line 2 is \"b\", and should be \"c\"");
    assert_eq!(difference("a\n", "a\nb\n").unwrap(), "line 2 is (the end), and should be \"b\"");
    assert!(difference("a", "a\n").is_some());
    assert!(!strangers("tests/apps", &[]).is_empty());
}
