//! Which names and which symbolic links a pushed tree may hold. Pure, and stricter than git's own checks, which let
//! through escape sequences in names, links to `/etc/shadow` and every spelling of `.git` that only other systems read
//! as such. Where the tree is walked and limits are counted: `tree`.

use super::text::{deceptive, visible};
use std::collections::HashSet;

/// Longest target of a symbolic link, in bytes (the kernel's own limit).
pub const MAX_TARGET: usize = 4095;

/// Why a name or a link is not accepted: what it is, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub what: &'static str,
    pub hint: &'static str,
}

/// One name of a tree, checked: UTF-8, printable, and nothing that leaves its directory or pretends to be `.git`.
pub fn check_name(name: &[u8], max: usize) -> Result<&str, Refusal> {
    let refuse = |what, hint| Err(Refusal { what, hint });
    let Ok(text) = std::str::from_utf8(name) else {
        return refuse("a name that is not UTF-8", "rename it with letters that UTF-8 knows");
    };
    if text.is_empty() || text == "." || text == ".." || text.contains('/') {
        return refuse("a name that no file can have", "this tree was not made by git: make the commit again");
    }
    if text.len() > max {
        return refuse("a name that is too long", "rename it to at most 255 bytes");
    }
    if is_dot_git(text) {
        return refuse(
            "a spelling of .git",
            "a repository inside the repository cannot be deployed: rename or remove it",
        );
    }
    if text.chars().any(deceptive) {
        return refuse("a name with control or invisible characters", "rename it");
    }
    Ok(text)
}

/// Every spelling that some system opens as `.git`: any case, the short name `git~1`, trailing dots and blanks,
/// alternate streams (`.git::$INDEX_ALLOCATION`), backslashes as separators, characters that HFS+ ignores.
pub fn is_dot_git(name: &str) -> bool {
    spells(name, &[".git", "git~1"])
}

/// The same for `.gitmodules`.
pub fn is_dot_gitmodules(name: &str) -> bool {
    spells(name, &[".gitmodules", "gitmod~1", "gitmod~2", "gitmod~3", "gitmod~4"])
}

/// Whether a link at `path` (parts joined by `/`) with `target` stays inside the tree, wherever other links lead.
///
/// `links` holds the paths of all links of the tree. Behind a link, `..` is not where it seems, so it is refused
/// there; before one it is counted exactly, for all directories above are real ones.
pub fn check_link(path: &str, target: &str, links: &HashSet<&str>) -> Result<(), Refusal> {
    let leaves = Refusal {
        what: "a symbolic link that leaves the project",
        hint: "point it at a file of the project, or at nothing; data belongs in the data directory",
    };
    if target.starts_with('/') {
        return Err(Refusal { what: "a symbolic link with an absolute target", hint: "make it relative: ln -sr" });
    }
    let mut place: Vec<&str> = path.split('/').collect();
    place.pop();
    let mut behind_a_link = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if behind_a_link => return Err(leaves),
            ".." => {
                if place.pop().is_none() {
                    return Err(leaves);
                }
            }
            name => {
                place.push(name);
                behind_a_link = behind_a_link || links.contains(place.join("/").as_str());
            }
        }
    }
    Ok(())
}

/// A link's target, checked as text.
pub fn check_target(target: &[u8]) -> Result<&str, Refusal> {
    let refuse = |what| Err(Refusal { what, hint: "make the link again, or leave it out" });
    if target.is_empty() || target.len() > MAX_TARGET {
        return refuse("a symbolic link with no target, or with one that is too long");
    }
    match std::str::from_utf8(target) {
        Ok(text) if !text.chars().any(deceptive) => Ok(text),
        _ => refuse("a symbolic link whose target is not plain text"),
    }
}

/// A path for one line of a message, at most 200 characters.
pub fn shown(path: &[u8]) -> String {
    visible(path, 200)
}

fn spells(name: &str, wanted: &[&str]) -> bool {
    let seen: String = name.chars().filter(|character| !hfs_ignores(*character)).collect();
    seen.split('\\').any(|part| {
        let part = part.split(':').next().unwrap_or(part).trim_end_matches([' ', '.']);
        wanted.iter().any(|wanted| part.eq_ignore_ascii_case(wanted))
    })
}

fn hfs_ignores(character: char) -> bool {
    matches!(character, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_the_repository_directory_are_refused() {
        let bad: [&[u8]; 16] = [
            b".git",
            b".GIT",
            b".Git ",
            b".git.",
            b"git~1",
            b"GIT~1",
            b".g\xe2\x80\x8cit",
            b".git::$INDEX_ALLOCATION",
            b"a\\.git",
            b".git\\x",
            b"..",
            b".",
            b"",
            b"a/b",
            b"a\x1b]0;pwn\x07b",
            b"a\nb",
        ];
        for name in bad {
            assert!(check_name(name, 255).is_err(), "{}", shown(name));
        }
        for name in [&[b'a'; 256][..], b"\xff\xfe", "a\u{202e}b".as_bytes()] {
            assert!(check_name(name, 255).is_err(), "{}", shown(name));
        }
    }

    #[test]
    fn odd_but_harmless_names_are_accepted() {
        for name in ["-rf", "$(id)", ".gitignore", ".github", "git", "a b", "...", "C:\\x", "naïve.txt", ".git1", "..a"]
        {
            assert_eq!(check_name(name.as_bytes(), 255), Ok(name));
        }
        assert!(is_dot_gitmodules(".GitModules") && !is_dot_gitmodules("gitmodules"));
    }

    #[test]
    fn links_stay_inside_even_through_other_links() {
        let links = HashSet::from(["a/b/c/top", "to_dir"]);
        for (path, target) in [
            ("link", "/etc/shadow"),
            ("up", "../../../../etc"),
            ("a/x", "../.."),
            ("a/b/c/out", "top/../.."),
            ("x", "to_dir/y/../../z"),
        ] {
            assert!(check_link(path, target, &links).is_err(), "{path} -> {target}");
        }
        for (path, target) in [
            ("a/b/c/top", "../../.."),
            ("a/x", "../b"),
            ("x", "a/../b"),
            ("x", "./nowhere"),
            ("x", "to_dir/file"),
            ("x", "..."),
        ] {
            assert_eq!(check_link(path, target, &links), Ok(()), "{path} -> {target}");
        }
    }

    proptest! {
        #[test]
        fn no_accepted_link_climbs_above_the_tree(target in "([ab]|\\.\\.|\\.){1,3}(/([ab]|\\.\\.|\\.)){0,6}") {
            if check_link("a/b/link", &target, &HashSet::new()).is_ok() {
                let mut depth = 2i32;
                for part in target.split('/') {
                    depth += match part { ".." => -1, "." => 0, _ => 1 };
                    prop_assert!(depth >= 0);
                }
            }
        }
    }
}
