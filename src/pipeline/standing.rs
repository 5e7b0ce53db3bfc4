//! gather, for what people edit in place: the tree that stands in `run/` instead of a commit's, and what was changed there.
//! Looks and refuses, changes nothing.

use super::context::Context;
use super::edits::{self, Built, Difference};
use super::facts::{EditsFound, From, Place};
use super::gather::{self, Gathered, NamedTexts, Seen};
use super::project_files::{Origin, ProjectFiles, SMALL_FILE, text};
use super::survey;
use super::{OnEdits, Order};
use crate::config::pillar::{self, PillarSources};
use crate::git::{Objects, Tree};
use crate::layouts::ProjectPlaces;
use crate::model::{Code, CommitId, Failure, Mode, Remote, Repository};
use crate::store::ProjectRecord;
use crate::system::reading;
use crate::trees::standing;
use std::path::{Path, PathBuf};

/// The edited `run/` as it was found.
pub struct Ground {
    /// The commit that it was last brought to, and its tree.
    pub commit: CommitId,
    pub tree: Tree,
    pub built: Built,
    /// What people changed and no commit has.
    pub edits: Vec<Difference>,
    /// What stands there and no commit can have.
    pub unnameable: Option<String>,
}

impl Ground {
    /// Whether the edits are in the way of a push.
    pub fn found(&self) -> EditsFound {
        if self.edits.is_empty() { EditsFound::Nothing } else { EditsFound::ToKeep }
    }
}

/// Where a project in this mode is worked on.
///
/// # Errors
/// `Refused` when the first tree that is edited in place would hide what stands in `project/`, or when something else than
/// what was edited stands in `run/`.
pub fn place_of(project: &ProjectRecord, (mode, from): (Mode, From), places: &ProjectPlaces) -> Result<Place, Failure> {
    match (mode, project.filled) {
        (Mode::Cooking | Mode::Final, _) => Ok(Place::Beside),
        (Mode::Editable, Some(inode)) if is_edited(places, inode) => Ok(Place::InPlace),
        (Mode::Editable, Some(_)) if reading::has_any(&places.run())? => Err(not_what_was_edited(places)),
        (Mode::Editable, _) => {
            if from == From::Commit && reading::has_any(&places.project())? {
                let what = format!("{} is not empty, and run/ will be shown there", places.project().display());
                return Err(Failure::new(Code::Refused, what).hint("move what stands there away, then push again"));
            }
            Ok(Place::Fresh(from))
        }
    }
}

/// Whether `run/` is the tree that people edit: somebody may have moved or removed it by hand.
fn is_edited(places: &ProjectPlaces, inode: u64) -> bool {
    reading::inode(&places.run()).is_ok_and(|run| run == inode)
}

fn still_edited(project: &ProjectRecord, places: &ProjectPlaces) -> Result<(), Failure> {
    match project.filled {
        Some(inode) if !is_edited(places, inode) => Err(not_what_was_edited(places)),
        Some(_) | None => Ok(()),
    }
}

/// For those who moved or removed it: nothing guesses what it was.
pub fn not_what_was_edited(places: &ProjectPlaces) -> Failure {
    let what = format!("{} is not the tree that was edited: it was moved or removed by hand", places.run().display());
    Failure::new(Code::Refused, what)
        .hint("put it back where it was: the next deployment shows it at project/ again")
        .hint("when it is lost: let nothing stand there, and push a commit, which is written anew")
}

/// The edited `run/`, for a deployment of a commit.
///
/// # Errors
/// `Refused` naming the edits that the commit would overwrite, unless the pusher said what is to become of them.
pub fn ground(
    context: &Context,
    order: &Order,
    (objects, commit): (&Objects, &Tree),
) -> Result<Option<Ground>, Failure> {
    let Some(mut ground) = look_at_run(context, &order.project, (objects, Some(commit)))? else { return Ok(None) };
    ground.edits = edits::lost_in(ground.edits, commit);
    if ground.edits.is_empty() || order.manner.on_edits != OnEdits::Refuse {
        return Ok(Some(ground));
    }
    Err(edits::refuse(order.project.name.as_str(), &ground.edits))
}

/// What stands in the edited `run/` besides its commit; `None` when nothing is edited there, or there is no commit.
/// `pushed`: what will be written over it.
pub fn look_at_run(
    context: &Context,
    project: &ProjectRecord,
    (objects, pushed): (&Objects, Option<&Tree>),
) -> Result<Option<Ground>, Failure> {
    let (Some(inode), Some(edited)) = (project.filled, project.edited.as_ref()) else { return Ok(None) };
    let places = context.project_places(&project.name);
    if !is_edited(&places, inode) {
        return Ok(None);
    }
    let limits = gather::limits(&context.config());
    let built = survey::read_built(&places.built_list())?;
    let ground = |commit: &CommitId| {
        let tree = objects.tree(commit, &limits)?;
        let found = survey::survey(&places.run(), &tree)?;
        let edits = survey::read_all(&places.run(), edits::edits(&found, &built, pushed))?;
        let unnameable = edits::unnameable(&found);
        Ok::<_, Failure>(Ground { commit: commit.clone(), tree, built: built.clone(), edits, unnameable })
    };
    let found = ground(edited)?;
    // A commit of the edits that a crash kept from being noted: the branch has them all.
    let head = gather::head(objects, &context.config())?.filter(|head| head != edited && !found.edits.is_empty());
    if let Some(head) = head {
        let newer = ground(&head)?;
        if newer.edits.is_empty() && objects.is_ancestor(edited, &head).unwrap_or(false) {
            context.store.set_edited(&project.name, &head)?;
            return Ok(Some(newer));
        }
    }
    Ok(Some(found))
}

/// What is deployed without a commit: `run/` as it stands, or, before there is one, `project/`.
pub fn look_here(context: &Context, order: &Order, commit: Option<&CommitId>) -> Result<Gathered, Failure> {
    let config = context.config();
    let project = &order.project;
    let places = context.project_places(&project.name);
    still_edited(project, &places)?;
    let root = root_of(project, &places);
    let tree = survey::listed(&root)?;
    let files = ProjectFiles { origin: Origin::Directory(&root), tree: &tree };
    if tree.entries.is_empty() {
        let what = format!("{} is empty", root.display());
        return Err(Failure::new(Code::NotFound, what).hint("put the project's files there, then deploy again"));
    }
    let settings = files.settings()?;
    let mode = settings.mode.unwrap_or(context.mode_of(project));
    let place = match (project.filled, order.manner.selection.is_everything()) {
        // Hooks of a release that is live.
        (None, false) if project.live.is_some() => Place::InPlace,
        _ => place_of(project, (mode, From::Directory), &places)?,
    };
    if place == Place::Beside {
        let what = format!("{} is edited in place, but its settings say mode {}", project.name, mode.as_str());
        return Err(Failure::new(Code::Refused, what).hint("a push changes the mode"));
    }
    let (pillar_commit, pillar) = gather::read_pillar(&places, project, &config)?;
    let sources = PillarSources { defaults: files.pillar_defaults()?, pillar };
    let recipe = files.recipe(&settings)?;
    let ground = match project.remote {
        Remote::Git => {
            let objects = crate::git::open(&places.repository(Repository::Project)).map_err(Failure::from)?;
            look_at_run(context, project, (&objects, None))?
        }
        Remote::Nothing => None,
    };
    let seen = Seen { config, mode, settings, sources, pillar_commit, place };
    let commit = commit.cloned().unwrap_or_else(CommitId::zero);
    let mut gathered = seen.assemble(context, order, (commit, tree), recipe)?;
    gathered.ground = ground;
    Ok(gathered)
}

/// Nothing is behind what is edited in place but git.
pub fn may_go_back(project: &ProjectRecord) -> Result<(), Failure> {
    if project.filled.is_none() {
        return Ok(());
    }
    let failure = Failure::new(Code::Refused, format!("{} is edited in place: no release is behind it", project.name));
    Err(failure.hint("push the commit that should be there"))
}

/// Where the files of a project are that has no commit to be read from.
pub fn root_of(project: &ProjectRecord, places: &ProjectPlaces) -> PathBuf {
    match (project.filled, project.live) {
        (None, None) => places.project(),
        _ => places.run(),
    }
}

/// Files of a pillar without a repository, in merge order.
pub fn pillar_files(directory: &Path) -> Result<NamedTexts, Failure> {
    let there = reading::names(directory)?;
    let names: Vec<&str> = there.iter().map(String::as_str).collect();
    let read = |name: &str| {
        let bytes = standing::content(directory, Path::new(name), SMALL_FILE as u64)?.unwrap_or_default();
        let name = format!("pillar/{name}");
        Ok((name.clone(), text(&name, bytes)?))
    };
    pillar::pillar_files(&names)?.into_iter().map(read).collect()
}

/// The project's own defaults for its pillar, where there is no commit to read them from.
pub fn defaults(project: &ProjectRecord, places: &ProjectPlaces) -> Result<NamedTexts, Failure> {
    let root = root_of(project, places);
    let tree = survey::listed(&root)?;
    ProjectFiles { origin: Origin::Directory(&root), tree: &tree }.pillar_defaults()
}
