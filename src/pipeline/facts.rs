//! What a plan depends on: all that gather looked at that can change a decision. Pure.

use super::Mover;
use crate::hooks::Hook;
use crate::model::{Mode, ReleaseVersion, Trigger};
use std::collections::BTreeSet;

/// What the decision depends on; all that gather looked at that can change a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    pub mode: Mode,
    pub trigger: Trigger,
    /// Hooks that the tree declares.
    pub hooks: BTreeSet<Hook>,
    /// Name of the buildpack, when one applies.
    pub buildpack: Option<String>,
    /// Who moves the branch at the end.
    pub mover: Mover,
    /// What is live now.
    pub previous: Option<ReleaseVersion>,
}
