//! Where the links of a tree lead, told from the list of its entries alone. Pure. The kernel is asked again once the links
//! are there (`plant`); a test compares the two answers.

use super::contents::{Listed, Solid};
use super::unpack::Links;
use crate::model::Failure;
use crate::trees::faults::refused;
use crate::trees::names;
use std::collections::BTreeMap;

/// Links that are followed one after another, as the kernel does.
const MOST_LINKS: usize = 40;

/// Steps from name to name for all links of a tree. Forty links through forty others, each as long as it may be, would
/// keep the kernel busy for hours.
const MOST_STEPS: usize = 4_000_000;

/// Where a path leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leads {
    Inside,
    /// Out of the tree, to where releases may lead that were signed.
    Known,
    /// Something on the way is not there.
    Nowhere,
    Out,
    InACircle,
    /// Nobody will wait for the answer.
    TooFar,
}

/// Refuses links that leave the tree, unless they may.
pub fn check(listed: &Listed, policy: Links) -> Result<(), Failure> {
    if policy == Links::AsBuilt {
        return Ok(());
    }
    let mut tree = Tree::of(listed);
    for (path, target) in listed.links() {
        let leads = match tree.follow(path) {
            Leads::Inside | Leads::Nowhere if !names::reads_as_inside(path, target) => Leads::Out,
            leads => leads,
        };
        match leads {
            Leads::Inside | Leads::Nowhere => {}
            Leads::Known if policy == Links::Portable => {}
            Leads::Out | Leads::Known => return Err(refused(format!("the link {path} leads out of the tree"))),
            Leads::InACircle => return Err(refused(format!("the link {path} leads in a circle"))),
            Leads::TooFar => return Err(refused("its links are too long to be followed")),
        }
    }
    Ok(())
}

/// What stands under each path: the target of a link, or that it is a directory or a file.
pub struct Tree<'a> {
    entries: BTreeMap<&'a str, What<'a>>,
    steps: usize,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Solid(Solid),
    Link(&'a str),
}

impl<'a> Tree<'a> {
    pub fn of(listed: &'a Listed) -> Self {
        let links = listed.links().map(|(path, target)| (path, What::Link(target)));
        let others = listed.solid().map(|(path, what)| (path, What::Solid(what)));
        Self { entries: links.chain(others).collect(), steps: 0 }
    }

    /// Follows a path as an open of it would.
    pub fn follow(&mut self, path: &'a str) -> Leads {
        let (mut at, mut followed) = (String::new(), 0);
        let mut todo: Vec<&str> = path.split('/').rev().collect();
        while let Some(part) = todo.pop() {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Leads::TooFar;
            }
            match part {
                "" | "." => continue,
                ".." if at.is_empty() => return beside(&todo),
                ".." => {
                    up(&mut at);
                    continue;
                }
                name => down(&mut at, name),
            }
            match self.entries.get(at.as_str()) {
                None => return Leads::Nowhere,
                Some(What::Solid(Solid::File)) if !todo.is_empty() => return Leads::Nowhere,
                Some(What::Solid(_)) => {}
                Some(What::Link(target)) if target.starts_with('/') => return absolute(target, &todo),
                Some(What::Link(target)) => {
                    followed += 1;
                    if followed > MOST_LINKS {
                        return Leads::InACircle;
                    }
                    up(&mut at);
                    todo.extend(target.split('/').rev());
                }
            }
        }
        Leads::Inside
    }
}

/// Where the machine keeps what programs need.
const OF_THE_MACHINE: [&str; 5] = ["usr", "bin", "sbin", "lib", "lib64"];
/// What stands beside the tree of every release.
const DATA: &str = "data";

/// The rest of a path that has left the tree by one step, its next part last.
fn beside(rest: &[&str]) -> Leads {
    let mut rest = rest.iter().rev().filter(|part| !matches!(**part, "" | "."));
    let known = rest.next() == Some(&DATA) && rest.all(|part| *part != "..");
    if known { Leads::Known } else { Leads::Out }
}

fn absolute(target: &str, rest: &[&str]) -> Leads {
    let mut parts = target.split('/').chain(rest.iter().rev().copied()).filter(|part| !matches!(*part, "" | "."));
    let known = parts.next().is_some_and(|top| OF_THE_MACHINE.contains(&top)) && parts.all(|part| part != "..");
    if known { Leads::Known } else { Leads::Out }
}

fn down(at: &mut String, name: &str) {
    if !at.is_empty() {
        at.push('/');
    }
    at.push_str(name);
}

fn up(at: &mut String) {
    at.truncate(at.rfind('/').unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::super::contents::NameRules;
    use super::super::header::Item;
    use super::super::listing::Exec;
    use super::super::unpack::UnpackLimits;
    use super::*;
    use nix::errno::Errno;
    use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
    use proptest::prelude::*;

    fn listed(entries: &[(&str, Item)]) -> Listed {
        let mut listed = Listed::new(NameRules::AsPacked);
        for (path, item) in entries {
            listed.admit(path, item, &UnpackLimits::default()).unwrap();
            listed.push((*path).to_owned(), item.clone());
        }
        listed
    }

    /// To the kernel, out is out.
    fn as_kernel(leads: Leads) -> Leads {
        if leads == Leads::Known { Leads::Out } else { leads }
    }

    #[test]
    fn a_signed_release_may_lead_to_its_data_and_to_the_machines_programs() {
        let verdict = |target: &str, policy| {
            let link = |target: &str| Item::Link { target: target.into() };
            let entries = [("d", Item::Directory), ("d/l", link(target)), ("lib", link("/usr/lib"))];
            check(&listed(&entries), policy).map_err(|failure| failure.what)
        };
        let out = Err("the link d/l leads out of the tree".to_owned());
        for known in ["/usr/bin/python3", "/lib/x", "../../data", "../.././data/media/", "../lib/x", "x", "../lib"] {
            assert_eq!(verdict(known, Links::Portable), Ok(()), "{known}");
            assert!(matches!(known, "x") || verdict(known, Links::InsideOnly).is_err(), "{known}");
        }
        for unknown in [
            "/etc/shadow",
            "/",
            "/usr/../etc/shadow",
            "../../data2",
            "../..",
            "../../../x",
            "../../data/../git",
            "../lib/../../etc",
        ] {
            assert_eq!(verdict(unknown, Links::Portable), out, "{unknown}");
        }
    }

    /// What the kernel says about the same tree.
    fn kernel(root: &std::path::Path, path: &str) -> Leads {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let root = std::fs::File::open(root).unwrap();
        match openat2(&root, path, OpenHow::new().flags(OFlag::O_PATH).resolve(resolve)) {
            Ok(_) => Leads::Inside,
            Err(Errno::ENOENT | Errno::ENOTDIR) => Leads::Nowhere,
            Err(Errno::EXDEV) => Leads::Out,
            Err(Errno::ELOOP) => Leads::InACircle,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_kernel_agrees(targets in prop::collection::vec("((a|b|c|d/e|d|f|\\.|\\.\\.|)/){0,4}(a|b|c|d|e|f|\\.\\.)", 5)) {
            let place = tempfile::tempdir().unwrap();
            let paths = ["a", "b", "d/c", "d/e/a", "d/e/b"];
            std::fs::create_dir_all(place.path().join("d/e")).unwrap();
            std::fs::write(place.path().join("f"), "").unwrap();
            let mut entries = vec![("d", Item::Directory), ("d/e", Item::Directory)];
            entries.push(("f", Item::File { exec: Exec::Plain, size: 0 }));
            for (path, target) in paths.iter().zip(&targets) {
                let target = if target.is_empty() { "." } else { target };
                std::os::unix::fs::symlink(target, place.path().join(path)).unwrap();
                entries.push((path, Item::Link { target: target.to_owned() }));
            }
            entries.sort_by(|(left, _), (right, _)| names::order(left, right));
            let listed = listed(&entries);
            let mut tree = Tree::of(&listed);
            for path in paths {
                prop_assert_eq!(as_kernel(tree.follow(path)), kernel(place.path(), path), "{} of {:?}", path, entries);
            }
        }
    }

    #[test]
    fn links_that_would_be_followed_for_hours_are_refused() {
        let long = |next: &str| Item::Link { target: format!("{}{next}", "d/../".repeat(780)) };
        let mut entries = vec![("d".to_owned(), Item::Directory)];
        entries.extend((0..2_000).map(|at| (format!("l{at:05}"), long(&format!("l{:05}", at + 1)))));
        let borrowed: Vec<_> = entries.iter().map(|(path, item)| (path.as_str(), item.clone())).collect();
        let failure = check(&listed(&borrowed), Links::InsideOnly).unwrap_err();
        assert_eq!(
            failure.what, "the link l00000 leads in a circle",
            "more than forty, which is where the kernel ends"
        );
        let few: Vec<_> = borrowed[..39].iter().chain(&borrowed[1_970..]).cloned().collect();
        assert!(check(&listed(&few), Links::InsideOnly).is_ok());
        let mut spread = borrowed[..31].to_vec();
        let ends: Vec<_> = (0..200).map(|at| (format!("m{at:05}"), long("l00000"))).collect();
        spread.extend(ends.iter().map(|(path, item)| (path.as_str(), item.clone())));
        assert_eq!(
            check(&listed(&spread), Links::InsideOnly).unwrap_err().what,
            "its links are too long to be followed"
        );
    }
}
