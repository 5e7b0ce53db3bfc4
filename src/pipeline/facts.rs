//! What a plan depends on: all that gather looked at that can change a decision. Pure.

use super::Mover;
use super::data::DataFacts;
use crate::buildpacks::{self, Choice, ReleaseInfo};
use crate::config::ProjectConfig;
use crate::hooks::{Hook, Who};
use crate::model::{Code, DeploymentNumber, Failure, Mode, ReleaseVersion, Trigger};
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
    pub building: Building,
    pub supply: Supply,
    /// Whose archive keeps the tree of the release that is deployed, as it was when it served.
    pub kept: Option<DeploymentNumber>,
    /// Who moves the branch at the end.
    pub mover: Mover,
    /// What is live now.
    pub previous: Option<ReleaseVersion>,
    pub data: DataFacts,
    pub place: Place,
    pub edits: EditsFound,
}

impl Facts {
    /// Of a release that is there: nothing is built, and nobody moves the branch. What it knows of data comes later.
    pub fn of_release(
        mode: Mode,
        trigger: Trigger,
        (hooks, previous): (BTreeSet<Hook>, Option<ReleaseVersion>),
    ) -> Self {
        Self {
            mode,
            trigger,
            hooks,
            buildpack: None,
            building: Building::Nothing,
            supply: Supply::Kept,
            kept: None,
            mover: Mover::Nobody,
            previous,
            data: DataFacts::default(),
            place: Place::Beside,
            edits: EditsFound::Nothing,
        }
    }
}

/// Which tree is worked on, and how it comes to be `run/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// `build/` becomes a release, which takes the place of `run/`.
    Beside,
    /// The first tree that will be edited in place is made below `deploy/` and takes the place of `run/`.
    Fresh(From),
    /// `run/` itself, where people edit.
    InPlace,
}

/// What a tree is filled from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    Commit,
    /// What stands in `project/` of a remote-less project.
    Directory,
}

/// Whether something that was edited in place must be kept somewhere before it is overwritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EditsFound {
    Nothing,
    ToKeep,
}

/// Where the release comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Supply {
    /// It is made here, of a commit.
    Cooked,
    /// It stands on the shelf and was live here, or could have been: a rollback.
    Kept,
    /// It was cooked elsewhere and stands on the shelf: it has to prove again what it is.
    Handed,
    /// It was cooked elsewhere and is there still.
    Fetched,
}

/// Whether anything runs between the commit and the release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Building {
    /// Hooks or a buildpack's scripts, in `build/`.
    Runs,
    /// Nothing: the release is the commit's tree.
    Nothing,
}

/// What has to run: `known` is what the buildpack comes to, when that is known without running it.
pub fn building(hooks: &BTreeSet<Hook>, known: Option<&ReleaseInfo>) -> Building {
    let hooks_run = hooks.iter().any(|hook| hook.runs_as() == Who::BuildUser);
    if known.is_some() && !hooks_run { Building::Nothing } else { Building::Runs }
}

/// Settings of a project that packs understand as variables.
pub fn pack_settings(settings: &ProjectConfig) -> Vec<(String, String)> {
    let named = [("COMMIS_STATIC_ROOT", &settings.static_root), ("COMMIS_INSTALLER", &settings.python_installer)];
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
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
