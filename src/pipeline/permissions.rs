//! Whose the trees of a project are, put right: the directories of the layout, and everything below those that have one
//! owner. What is wrong and cannot be put right safely is reported, never passed over in silence.

use super::context::Context;
use super::execute::make_directories;
use crate::layouts::ProjectPlaces;
use crate::model::Failure;
use crate::store::ProjectRecord;
use crate::system::UserIds;
use crate::system::ownership::{Enforced, Modes, Rule};
use crate::system::privileged;
use std::path::PathBuf;

/// How much is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// At the end of a deployment: what others than we wrote meanwhile. `run/` was just unpacked and verified.
    Deployment,
    /// Everything; for the holder of the project's turn.
    Whole,
}

/// Puts it right. Applications need not stop: every change is made to something that was looked at, by its descriptor.
pub fn fix(context: &Context, project: &ProjectRecord, extent: Extent) -> Result<Enforced, Failure> {
    let places = context.project_places(&project.name);
    make_directories(project, &places, context.git.user)?;
    let users = &context.config().users;
    let strangers = (users.first, users.first.saturating_add(users.count));
    let own = vec![project.build_user.uid, project.app_user.uid, context.git.user.uid];
    let mut all = Enforced::default();
    for (path, owner, modes) in trees(context, project, &places, extent) {
        let rule = Rule { path, owner, modes, strangers, own: own.clone() };
        let done = tokio::task::block_in_place(|| privileged::enforce(&rule))?;
        all.changed += done.changed;
        all.left_alone.extend(done.left_alone);
    }
    Ok(all)
}

/// Gives what stands in a tree that people edit to those who build there.
pub fn give_edited(context: &Context, project: &ProjectRecord, path: PathBuf) -> Result<(), Failure> {
    let users = &context.config().users;
    let rule = Rule {
        path,
        owner: edited_owner(project),
        modes: Modes::NoSetId,
        strangers: (users.first, users.first.saturating_add(users.count)),
        own: vec![project.build_user.uid, project.app_user.uid, context.git.user.uid],
    };
    for path in privileged::enforce(&rule)?.left_alone {
        tracing::warn!(path = %path.display(), "a device, a file with several names, or somebody else's: not given away");
    }
    Ok(())
}

/// Builds write what is edited; the application reads it.
pub fn edited_owner(project: &ProjectRecord) -> UserIds {
    UserIds { uid: project.build_user.uid, gid: project.app_user.gid }
}

fn trees(
    context: &Context,
    project: &ProjectRecord,
    places: &ProjectPlaces,
    extent: Extent,
) -> Vec<(PathBuf, UserIds, Modes)> {
    let mut trees = vec![(places.data(), project.app_user, Modes::NoSetId)];
    if extent == Extent::Whole {
        trees.extend([
            (places.git(), context.git.user, Modes::NoSetId),
            (places.pillar(), UserIds::of(0), Modes::NoSetId),
            (places.build(), project.build_user, Modes::NoSetId),
            (places.cache(), project.build_user, Modes::NoSetId),
        ]);
        // What is edited in place belongs to whoever edits it.
        if project.filled.is_none() {
            trees.push((places.run(), UserIds::of(0), Modes::Release));
        }
    }
    trees
}

/// `2 put right, 1 left alone`.
pub fn words(done: &Enforced) -> String {
    match (done.changed, done.left_alone.len()) {
        (0, 0) => "all right".to_owned(),
        (changed, 0) => format!("{changed} put right"),
        (changed, left) => format!("{changed} put right, {left} left alone"),
    }
}
