//! Which hooks a tree has: exactly the executable files of the right names in `.commis/hooks/`. Pure; what is almost
//! a hook is an error, because a hook that silently does not run is worse.

use super::moment::Hook;
use crate::model::{Code, Failure};
use std::collections::BTreeMap;

/// Where hooks are, relative to the tree, with the slash.
pub const DIRECTORY: &str = ".commis/hooks/";

/// One file of a commit's tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Relative, with `/`.
    pub path: &'a str,
    pub kind: Kind,
}

/// What git knows about a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Mode 100755.
    Executable,
    /// Mode 100644.
    Plain,
    /// Mode 120000.
    Link,
}

/// The hooks among the files of a tree, with their paths. Files elsewhere are passed over, as are names that begin
/// with a dot, `README`s, and directories that are not named like a hook (for what hooks share).
///
/// Errors: [`Code::BadConfig`] naming the first file that looks like a hook and is none.
pub fn find<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Result<BTreeMap<Hook, String>, Failure> {
    let mut found = BTreeMap::new();
    for entry in entries {
        let Some(name) = entry.path.strip_prefix(DIRECTORY) else { continue };
        if let Some((directory, _)) = name.split_once('/') {
            refuse_directory_of_hooks(directory)?;
        } else if let Some(hook) = Hook::parse(name) {
            check_kind(entry)?;
            found.insert(hook, entry.path.to_owned());
        } else if !name.starts_with('.') && !name.starts_with("README") {
            return Err(unknown(name));
        }
    }
    Ok(found)
}

fn refuse_directory_of_hooks(name: &str) -> Result<(), Failure> {
    match Hook::parse(name) {
        None => Ok(()),
        Some(_) => Err(Failure::new(Code::BadConfig, format!("{DIRECTORY}{name}: is a directory; a hook is one file"))
            .hint("rename the directory and call its scripts from one hook")),
    }
}

fn check_kind(entry: Entry<'_>) -> Result<(), Failure> {
    let path = entry.path;
    match entry.kind {
        Kind::Executable => Ok(()),
        Kind::Plain => Err(Failure::new(Code::BadConfig, format!("{path}: hook is not executable"))
            .hint(format!("git update-index --chmod=+x {path}, commit, push again"))),
        Kind::Link => Err(Failure::new(Code::BadConfig, format!("{path}: hook is a symbolic link"))
            .hint("commit the script itself, or a script that calls the other one")),
    }
}

fn unknown(name: &str) -> Failure {
    let stem = name.split('.').next().unwrap_or(name);
    let failure = Failure::new(Code::BadConfig, format!("{DIRECTORY}{name}: no hook has this name"));
    let known = Hook::ALL.map(Hook::name).join(", ");
    match nearest(stem) {
        Some(hook) if stem == hook.name() => {
            failure.hint(format!("hooks have no extension: git mv {DIRECTORY}{name} {DIRECTORY}{}", hook.name()))
        }
        Some(hook) => failure.hint(format!("did you mean {}?", hook.name())).hint(format!("hooks are: {known}")),
        None => failure
            .hint(format!("hooks are: {known}"))
            .hint(format!("what hooks share goes into a directory, such as {DIRECTORY}lib/")),
    }
}

/// The hook that somebody most likely meant.
fn nearest(name: &str) -> Option<Hook> {
    let plain = name.to_ascii_lowercase().replace(['-', ' '], "_");
    let (distance, hook) = Hook::ALL.into_iter().map(|hook| (distance(&plain, hook.name()), hook)).min()?;
    (distance <= 1 + plain.len() / 5).then_some(hook)
}

/// Number of letters to insert, remove or change (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut above_left = line;
        let mut left = line + 1;
        for (b, above) in to.iter().zip(row.iter_mut().skip(1)) {
            let changed = above_left + usize::from(a != *b);
            above_left = *above;
            left = changed.min(left + 1).min(*above + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(files: &[(&str, Kind)]) -> Result<Vec<&'static str>, Failure> {
        let hooks = find(files.iter().map(|(path, kind)| Entry { path, kind: *kind }))?;
        Ok(hooks.into_keys().map(Hook::name).collect())
    }

    #[test]
    fn hooks_are_found_by_name_in_the_order_in_which_they_run() {
        let files = [
            (".commis/hooks/post_deploy", Kind::Executable),
            (".commis/hooks/build", Kind::Executable),
            (".commis/hooks/lib/shared.sh", Kind::Plain),
            (".commis/hooks/README.md", Kind::Plain),
            (".commis/hooks/.gitkeep", Kind::Plain),
            (".commis/project.toml", Kind::Plain),
            ("hooks/deploy", Kind::Plain),
        ];
        assert_eq!(found(&files).unwrap(), ["build", "post_deploy"]);
        assert!(found(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_hook_that_is_not_executable_is_refused_with_the_command_that_helps() {
        let failure = found(&[(".commis/hooks/build", Kind::Plain)]).unwrap_err();
        assert_eq!(
            (failure.code, failure.what.as_str()),
            (Code::BadConfig, ".commis/hooks/build: hook is not executable")
        );
        assert!(failure.hints[0].starts_with("git update-index --chmod=+x .commis/hooks/build"));
    }

    #[test]
    fn a_name_that_is_almost_a_hook_is_refused_with_the_right_one() {
        for (name, hint) in [
            ("post-build", "did you mean post_build?"),
            ("Deploy", "did you mean deploy?"),
            ("postinstall", "did you mean post_install?"),
            ("biuld", "did you mean build?"),
            ("build.sh", "hooks have no extension: git mv .commis/hooks/build.sh .commis/hooks/build"),
            (
                "pre-receive",
                "hooks are: pre_install, configure, build, post_build, bundle, backup, deploy, post_deploy, upgrade, \
                 post_install, restore",
            ),
        ] {
            let path = format!(".commis/hooks/{name}");
            let failure = found(&[(&path, Kind::Executable)]).unwrap_err();
            assert_eq!(failure.what, format!("{path}: no hook has this name"));
            if name != "biuld" {
                assert_eq!(failure.hints[0], hint, "{name}");
            }
        }
    }

    #[test]
    fn links_and_directories_are_not_hooks() {
        assert!(found(&[(".commis/hooks/build", Kind::Link)]).unwrap_err().what.contains("symbolic link"));
        assert!(
            found(&[(".commis/hooks/build/10-css", Kind::Executable)]).unwrap_err().what.contains("is a directory")
        );
    }

    #[test]
    fn distance_counts_letters() {
        for (from, to, count) in
            [("", "build", 5), ("build", "build", 0), ("bulid", "build", 2), ("deplo", "deploy", 1)]
        {
            assert_eq!(distance(from, to), count, "{from} {to}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_a_hook_or_an_error_and_never_a_panic(name in ".{0,40}") {
            let path = format!("{DIRECTORY}{name}");
            if let Ok(hooks) = find([Entry { path: &path, kind: Kind::Executable }]) {
                prop_assert!(hooks.is_empty() || Hook::parse(&name).is_some());
            }
        }
    }
}
