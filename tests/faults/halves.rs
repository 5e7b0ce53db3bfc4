//! What may stay in `incoming/`: a promotion that was cut off goes on where its fetch ended, so the half that it has is no
//! rubbish, until another release is fetched. Pure.

use super::expected::Outcome;
use std::collections::BTreeSet;

/// Digests of releases that were asked for and perhaps fetched in part.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Halves(BTreeSet<String>);

impl Halves {
    /// A promotion of this release has ended. One that came to a verdict on the release itself had all of it, and had
    /// forgotten every other half before; exit 1 is also that of a full disk.
    pub fn ended(&mut self, sha256: &str, outcome: &Outcome) {
        let all_came = match outcome {
            Outcome::Acknowledged => true,
            Outcome::Refused(code) => ["rolled-back", "exit-3"].contains(&code.as_str()),
            Outcome::CutOff => false,
        };
        if all_came {
            self.0.clear();
        } else {
            self.0.insert(sha256.to_owned());
        }
    }

    /// Of these names below `incoming/`, those that are no half of such a release; all of them when they are several, since
    /// only the newest stays.
    pub fn strange(&self, names: Vec<String>) -> Vec<String> {
        let known = |name: &String| name.strip_suffix(".partial").is_some_and(|sha256| self.0.contains(sha256));
        if names.len() > 1 { names } else { names.into_iter().filter(|name| !known(name)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| format!("{name}.partial")).collect()
    }

    #[test]
    fn the_half_of_a_fetch_that_was_cut_off_may_stay_until_another_release_came_and_nothing_else_may() {
        let mut halves = Halves::default();
        assert_eq!(halves.strange(names(&["a"])), names(&["a"]));
        halves.ended("a", &Outcome::CutOff);
        assert_eq!(halves.strange(names(&["a"])), names(&[]));
        assert_eq!(halves.strange(names(&["b"])), names(&["b"]));
        assert_eq!(halves.strange(vec!["a".into()]), ["a"]);
        halves.ended("b", &Outcome::Refused("exit-70".into()));
        assert_eq!(halves.strange(names(&["b"])), names(&[]));
        assert_eq!(halves.strange(names(&["a", "b"])), names(&["a", "b"]));
        halves.ended("c", &Outcome::Refused("rolled-back".into()));
        assert_eq!(halves.strange(names(&["b"])), names(&["b"]));
        halves.ended("d", &Outcome::CutOff);
        halves.ended("e", &Outcome::Acknowledged);
        assert_eq!(halves.strange(names(&["d"])), names(&["d"]));
    }
}
