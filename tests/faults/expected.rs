//! What may be true: the model of the promises. Pure.
//!
//! A state is what people can see: the commit that serves and where the branch is. An acknowledged wish leaves one
//! state, a refused one leaves what was, and one that was cut off leaves both until somebody looks.

use super::standing::Files;
use std::collections::BTreeSet;

/// What is in `data/`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Data {
    /// A file to which each release that is made live adds a line.
    pub ledger: String,
    /// Digest of everything else: names, modes, owners, contents.
    pub rest: String,
}

/// What people see of a project.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The commit of the release that serves.
    pub serves: Option<String>,
    /// Where the deploy branch is.
    pub branch: Option<String>,
    pub data: Data,
    /// Mode editable: what is edited and in no commit.
    pub edits: Files,
    /// Edits that a branch keeps. More of them than promised is no broken promise.
    pub kept: BTreeSet<Files>,
    /// What was last set in the pillar.
    pub pillar: Option<String>,
}

impl State {
    pub fn live_of(&self) -> Option<String> {
        self.serves.clone()
    }

    pub fn branch_of(&self) -> Option<String> {
        self.branch.clone()
    }

    /// Whether this was promised, and that was found.
    fn is_kept_by(&self, found: &State) -> bool {
        let same = State { kept: BTreeSet::new(), ..self.clone() } == State { kept: BTreeSet::new(), ..found.clone() };
        same && self.kept.is_subset(&found.kept)
    }
}

/// How a wish ended for whoever had it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Exit 0.
    Acknowledged,
    /// A verdict with a code.
    Refused(String),
    /// The connection ended without a verdict.
    CutOff,
}

/// All states that keep the promises.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    allowed: Vec<State>,
    /// "Needs an admin" is an honest answer to what was done to the machine.
    pub trouble_is_honest: bool,
}

impl Expected {
    pub fn only(state: State) -> Self {
        Self { allowed: vec![state], trouble_is_honest: false }
    }

    /// The state, when there is one only.
    pub fn certain(&self) -> Option<&State> {
        match self.allowed.as_slice() {
            [state] => Some(state),
            _ => None,
        }
    }

    pub fn allows(&self, state: &State) -> bool {
        self.allowed.iter().any(|promised| promised.is_kept_by(state))
    }

    /// The same for somebody who does not see everything.
    pub fn allows_view(&self, is_seen: impl FnMut(&State) -> bool) -> bool {
        self.allowed.iter().any(is_seen)
    }

    /// A wish that aimed at a state has ended. P1: acknowledged is the one state. P2: refused changes nothing.
    pub fn note(&mut self, aim: &State, outcome: &Outcome) {
        match outcome {
            Outcome::Acknowledged => self.allowed = vec![aim.clone()],
            Outcome::Refused(_) => {}
            Outcome::CutOff if !self.allows(aim) => self.allowed.push(aim.clone()),
            Outcome::CutOff => {}
        }
    }

    /// What a wish is on the way, when it does not get to its aim.
    pub fn may_be(&mut self, between: &[State], outcome: &Outcome) {
        let stopped = between.iter().filter(|_| *outcome != Outcome::Acknowledged);
        self.allowed.extend(stopped.cloned());
    }

    /// Something was done to whatever is true.
    pub fn happened(&mut self, what: impl FnMut(&mut State)) {
        self.allowed.iter_mut().for_each(what);
    }

    /// Somebody looked: from now on it is what was seen.
    pub fn saw(&mut self, state: State) {
        self.allowed = vec![state];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(serves: &str) -> State {
        State { serves: Some(serves.into()), branch: Some(serves.into()), ..State::default() }
    }

    #[test]
    fn an_acknowledged_wish_is_the_only_state_and_a_refused_one_changes_none() {
        let mut expected = Expected::only(state("a"));
        expected.note(&state("b"), &Outcome::Acknowledged);
        assert!(expected.allows(&state("b")) && !expected.allows(&state("a")));
        expected.note(&state("c"), &Outcome::Refused("unhealthy".into()));
        assert_eq!(expected.certain(), Some(&state("b")));
    }

    #[test]
    fn a_wish_that_was_cut_off_leaves_both_until_somebody_looks_but_never_a_mixture() {
        let mut expected = Expected::only(state("a"));
        expected.note(&state("b"), &Outcome::CutOff);
        assert!(expected.allows(&state("a")) && expected.allows(&state("b")) && expected.certain().is_none());
        assert!(!expected.allows(&State { branch: Some("a".into()), ..state("b") }));
        expected.saw(state("a"));
        assert!(!expected.allows(&state("b")));
    }

    #[test]
    fn an_edit_may_be_kept_twice_but_not_be_lost() {
        let edit = Files::from([("index.html".to_owned(), "mine".to_owned())]);
        let keeps = |edits: &[&Files]| State { kept: edits.iter().copied().cloned().collect(), ..state("a") };
        let expected = Expected::only(keeps(&[&edit]));
        assert!(expected.allows(&keeps(&[&edit, &Files::new()])) && !expected.allows(&state("a")));
        assert!(!expected.allows(&State { edits: edit.clone(), ..keeps(&[&edit]) }));
    }

    #[test]
    fn a_wish_of_two_parts_may_stop_between_them_unless_it_was_acknowledged() {
        let mut expected = Expected::only(state("a"));
        expected.note(&state("c"), &Outcome::CutOff);
        expected.may_be(&[state("b")], &Outcome::CutOff);
        assert!(["a", "b", "c"].iter().all(|name| expected.allows(&state(name))));
        expected.note(&state("c"), &Outcome::Acknowledged);
        expected.may_be(&[state("b")], &Outcome::Acknowledged);
        assert_eq!(expected.certain(), Some(&state("c")));
    }
}
