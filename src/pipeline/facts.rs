//! What a plan depends on: all that gather looked at that can change a decision. Pure.

use super::Mover;
use crate::buildpacks::{self, Choice};
use crate::hooks::Hook;
use crate::model::{Code, Failure, Mode, ReleaseVersion, Trigger};
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

/// The buildpack of a tree with these hooks. A build hook without a named buildpack is the whole recipe, and so are
/// hooks when no buildpack fits.
///
/// # Errors
/// `NoRecipe`, or `BadConfig` when the project asks for what is not there.
pub fn buildpack(
    hooks: &BTreeSet<Hook>,
    tree: buildpacks::Tree<'_>,
    asked: Option<&str>,
) -> Result<Option<Choice>, Failure> {
    if hooks.contains(&Hook::Build) && asked.is_none() {
        return Ok(None);
    }
    match buildpacks::choose(tree, asked) {
        Err(failure) if failure.code == Code::NoRecipe && !hooks.is_empty() => Ok(None),
        choice => choice.map(Some),
    }
}
