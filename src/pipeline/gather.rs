//! gather: looks at everything once, before anything is changed. Chooses nothing; what it saw is what is planned from.
//!
//! A tree, Procfile, pillar or project file that cannot be understood ends the deployment here.

use super::context::Context;
use super::data::{self, DataFacts};
use super::facts::{self, Building, EditsFound, Facts, From, Place, Supply};
use super::kept;
use super::project_files::{Origin, ProjectFiles, Recipe, SMALL_FILE, text, with_files};
use super::recall::{self, live_hooks};
use super::room::{self, Copies, Writes};
use super::standing;
use super::{Goal, Mover, Order};
use crate::archives::Manifest;
use crate::backups::backup::Exclude;
use crate::buildpacks::{self, Choice, ReleaseInfo};
use crate::config::pillar::{self, PillarSources, Value};
use crate::config::project::BackupPolicy;
use crate::config::{ProjectConfig, ServerConfig};
use crate::git::{self, Tree, TreeLimits};
use crate::hooks::{self, Hook};
use crate::layouts::ProjectPlaces;
use crate::model::{Code, CommitId, Failure, Mode, ProjectName, RefName, ReleaseVersion, Remote, Repository};
use crate::storage::Usage;
use crate::storage::fitting::Makes;
use crate::store::{ProjectRecord, ReleaseRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything that was seen. No `Debug`: it holds the pillar.
pub struct Gathered {
    pub config: Arc<ServerConfig>,
    pub facts: Facts,
    pub mode: Mode,
    /// `None` when an earlier release is deployed.
    pub source: Option<Source>,
    pub pillar_commit: Option<CommitId>,
    /// Files of today's pillar.
    pub pillar: NamedTexts,
    /// The `common` tree as hooks find it.
    pub common: serde_json::Value,
    /// The pillar's `env:`.
    pub environment: Vec<(String, String)>,
    pub settings: ProjectConfig,
    /// What people must know before the work begins.
    pub warnings: Vec<String>,
    /// The edited `run/`, when this deployment writes there.
    pub ground: Option<standing::Ground>,
}

/// A commit that will be built.
pub struct Source {
    pub commit: CommitId,
    pub tree: Tree,
    pub hooks: BTreeMap<hooks::Hook, String>,
    pub choice: Option<Choice>,
    /// What the buildpack comes to, when that is known without running it.
    pub known: Option<ReleaseInfo>,
}

/// Files with their names, for messages.
pub type NamedTexts = Vec<(String, String)>;

mod elsewhere;
pub use elsewhere::{assemble, takes_releases, tree_defaults};

/// Looks.
///
/// # Errors
/// `Refused`, `BadConfig`, `NoRecipe` for what the project or its pillar got wrong, `DiskFull` when it cannot fit.
pub fn look(context: &Context, order: &Order) -> Result<Gathered, Failure> {
    match &order.goal {
        Goal::Commit { commit, mover, .. } => look_at(context, order, (commit, *mover)),
        Goal::Release(version) => look_back(context, order, *version),
        Goal::Promotion(promotion) => elsewhere::look(context, order, promotion),
        Goal::Standing { commit } => standing::look_here(context, order, commit.as_ref()),
    }
}

/// A commit to be built, with today's pillar.
fn look_at(context: &Context, order: &Order, (commit, mover): (&CommitId, Mover)) -> Result<Gathered, Failure> {
    let config = context.config();
    let places = context.project_places(&order.project.name);
    let (pillar_commit, pillar) = read_pillar(&places, &order.project, &config)?;
    let objects = git::open(&places.repository(Repository::Project)).map_err(Failure::from)?;
    let tree = objects.tree(commit, &limits(&config))?;
    let files = ProjectFiles { origin: Origin::Commit(&objects, commit), tree: &tree };
    let settings = files.settings()?;
    let mode = settings.mode.unwrap_or(context.mode_of(&order.project));
    require_deployable(&order.project.name, mode)?;
    let sources = PillarSources { defaults: files.pillar_defaults()?, pillar };
    let recipe = files.recipe(&settings)?;
    let place = standing::place_of(&order.project, (mode, From::Commit), &places)?;
    let ground = standing::ground(context, order, (&objects, &tree))?;
    let edits = ground.as_ref().map_or(EditsFound::Nothing, standing::Ground::found);
    let seen = Seen { config, mode, settings, sources, pillar_commit, place };
    let mut gathered = seen.assemble(context, order, (commit.clone(), tree), recipe)?;
    gathered.facts = Facts { mover, edits, ..gathered.facts };
    gathered.ground = ground;
    Ok(gathered)
}

/// What was read of a tree, on its way to being [`Gathered`].
pub(super) struct Seen {
    pub config: Arc<ServerConfig>,
    pub mode: Mode,
    pub settings: ProjectConfig,
    pub sources: PillarSources,
    pub pillar_commit: Option<CommitId>,
    pub place: Place,
}

impl Seen {
    /// Puts together what every tree has: recipe, pillar, environment, room.
    pub(super) fn assemble(
        self,
        context: &Context,
        order: &Order,
        (commit, tree): (CommitId, Tree),
        (hooks, choice): Recipe,
    ) -> Result<Gathered, Failure> {
        let Self { config, mode, settings, sources, pillar_commit, place } = self;
        let merged = pillar::assemble(&sources, &about(&order.project.name, mode, &config))?;
        let environment = pillar::environment(&merged)?;
        let known = choice.as_ref().and_then(|choice| known_release(choice, &tree, (&settings, &environment)));
        let declared: BTreeSet<Hook> = hooks.keys().copied().collect();
        let facts = Facts {
            building: facts::building(&declared, known.as_ref()),
            supply: Supply::Cooked,
            buildpack: choice.as_ref().map(|choice| choice.pack.name.clone()),
            data: of_data(&context.project_places(&order.project.name), &declared, &settings),
            place,
            ..Facts::of_release(mode, order.trigger, (declared, order.project.live))
        };
        Ok(Gathered {
            warnings: has_room(context, order, (&facts, &settings), &tree)?,
            common: common(order, mode, &config, &merged),
            source: Some(Source { commit, tree, hooks, choice, known }),
            pillar: sources.pillar,
            ground: None,
            config,
            facts,
            mode,
            pillar_commit,
            environment,
            settings,
        })
    }
}

/// What the settings of a tree say about data.
fn of_data(places: &ProjectPlaces, declared: &BTreeSet<Hook>, settings: &ProjectConfig) -> DataFacts {
    let restorer = data::restorer(declared, &live_hooks(places));
    DataFacts { policy: settings.data.backup, declared: settings.data.rollback, asked: None, restorer }
}

/// Refuses what cannot fit. What is edited in place has no backup of its data.
fn has_room(
    context: &Context,
    order: &Order,
    (facts, settings): (&Facts, &ProjectConfig),
    tree: &Tree,
) -> Result<Vec<String>, Failure> {
    let makes = match facts.building {
        Building::Runs => Makes::Build,
        Building::Nothing => Makes::Release,
    };
    let exclude = Exclude::new(&settings.data.exclude)?;
    let copies = match settings.data.backup == BackupPolicy::Full && facts.place == Place::Beside {
        true if data::may_change(facts) => Copies::BackupAndReturn(&exclude),
        true => Copies::Backup(&exclude),
        false => Copies::None,
    };
    let writes = Writes { tree: Usage { bytes: tree.bytes, inodes: tree.entries.len() as u64 }, makes, copies };
    room::look(context, &order.project, &writes)
}

/// What the buildpack comes to, when no variable steers its scripts and there is nothing to compile.
fn known_release(
    choice: &Choice,
    tree: &Tree,
    (settings, environment): (&ProjectConfig, &[(String, String)]),
) -> Option<ReleaseInfo> {
    let settings = facts::pack_settings(settings);
    let names: Vec<&str> = settings.iter().chain(environment).map(|(name, _)| name.as_str()).collect();
    with_files(tree, |files| buildpacks::contract::without_process(choice.pack, files, &names))
}

/// An earlier release: its own variables, and what it was cooked from. Today's pillar has no say: the way back must be
/// open also when that is what broke. What it says about itself stands in its tree: it is read here where that is kept,
/// else once it is unpacked (`execute/adopt.rs`).
fn look_back(context: &Context, order: &Order, version: ReleaseVersion) -> Result<Gathered, Failure> {
    standing::may_go_back(&order.project)?;
    let config = context.config();
    let mode = context.mode_of(&order.project);
    let name = &order.project.name;
    let places = context.project_places(name);
    let release = context.store.release(name, version)?;
    let found = release.as_ref().map(|release| kept::look(context, name, release)).transpose()?.flatten();
    let kept = found.map(|kept| kept.archive);
    let (hooks, settings) = match kept {
        Some(archive) => recall::declared(&places.archived_run(archive))?,
        None => (elsewhere::possible_hooks(), ProjectConfig::default()),
    };
    let data = recall::data_facts(context, order, (&hooks, &settings))?;
    let facts = Facts { data, kept, ..Facts::of_release(mode, order.trigger, (hooks, order.project.live)) };
    // Its backup is compared when it is made; the way back is not closed here by what may yet fit.
    let tree = release.as_ref().filter(|_| kept.is_none()).map(unpacked).unwrap_or_default();
    let writes = Writes { tree, makes: Makes::Tree, copies: Copies::None };
    let mut warnings = room::look(context, &order.project, &writes)?;
    let pillar_commit = release.as_ref().and_then(ReleaseRecord::pillar_commit_id);
    let pillar = pillar_commit.as_ref().map(|commit| pillar_then(&places, commit, &config)).transpose();
    let pillar = pillar.unwrap_or_else(|failure| {
        warnings.push(format!("hooks see the defaults alone, the pillar of {version} cannot be read: {failure}"));
        None
    });
    Ok(Gathered {
        ground: None,
        warnings,
        common: common(order, mode, &config, &Value::Map(Vec::new())),
        facts,
        mode,
        source: None,
        pillar: pillar.unwrap_or_default(),
        pillar_commit,
        environment: release.as_ref().map(ReleaseRecord::variables).unwrap_or_default(),
        settings,
        config,
    })
}

/// The pillar that a release was deployed with.
fn pillar_then(places: &ProjectPlaces, commit: &CommitId, config: &ServerConfig) -> Result<NamedTexts, Failure> {
    let objects = git::open(&places.repository(Repository::Pillar)).map_err(Failure::from)?;
    pillar_at(&objects, commit, config)
}

/// What the tree of a release takes.
fn unpacked(release: &ReleaseRecord) -> Usage {
    let tree = Manifest::parse(release.manifest.as_bytes()).map(|manifest| manifest.tree);
    tree.map(|tree| Usage { bytes: tree.bytes, inodes: tree.files }).unwrap_or_default()
}

/// The pillar's `env:` over the defaults of the commit that the deploy branch names.
pub fn pillar_environment(context: &Context, project: &ProjectRecord) -> Result<Vec<(String, String)>, Failure> {
    let config = context.config();
    let places = context.project_places(&project.name);
    let (_, pillar) = read_pillar(&places, project, &config)?;
    let defaults = match project.remote {
        Remote::Nothing => standing::defaults(project, &places)?,
        Remote::Git => head_defaults(&places, &config)?,
    };
    let about = about(&project.name, context.mode_of(project), &config);
    pillar::environment(&pillar::assemble(&PillarSources { defaults, pillar }, &about)?)
}

fn head_defaults(places: &ProjectPlaces, config: &ServerConfig) -> Result<NamedTexts, Failure> {
    let objects = git::open(&places.repository(Repository::Project)).map_err(Failure::from)?;
    let Some(commit) = head(&objects, config)? else { return Ok(Vec::new()) };
    let tree = objects.tree(&commit, &limits(config))?;
    ProjectFiles { origin: Origin::Commit(&objects, &commit), tree: &tree }.pillar_defaults()
}

/// In mode final nothing is built.
pub(super) fn require_deployable(project: &ProjectName, mode: Mode) -> Result<(), Failure> {
    match mode {
        Mode::Cooking | Mode::Editable => Ok(()),
        Mode::Final => {
            let what = format!("{project} is in mode final here: nothing is built, releases come from elsewhere");
            Err(Failure::new(Code::Refused, what).hint(format!("commis promote {project}")))
        }
    }
}

pub fn limits(config: &ServerConfig) -> TreeLimits {
    TreeLimits {
        max_files: config.trees.max_files as usize,
        max_bytes: config.trees.max_bytes,
        max_file: config.trees.max_file,
        max_depth: config.trees.max_depth as usize,
        ..TreeLimits::default()
    }
}

/// The head of the pillar and its files, in merge order. Without a repository they stand in `pillar/`.
pub(super) fn read_pillar(
    places: &ProjectPlaces,
    project: &ProjectRecord,
    config: &ServerConfig,
) -> Result<(Option<CommitId>, NamedTexts), Failure> {
    if project.remote == Remote::Nothing {
        return Ok((None, standing::pillar_files(&places.pillar())?));
    }
    let objects = git::open(&places.repository(Repository::Pillar)).map_err(Failure::from)?;
    let Some(commit) = head(&objects, config)? else { return Ok((None, Vec::new())) };
    let files = pillar_at(&objects, &commit, config)?;
    Ok((Some(commit), files))
}

fn pillar_at(objects: &git::Objects, commit: &CommitId, config: &ServerConfig) -> Result<NamedTexts, Failure> {
    let tree = objects.tree(commit, &limits(config))?;
    let names: Vec<&str> = tree.entries.iter().map(|entry| entry.path.as_str()).collect();
    let mut files = Vec::new();
    for name in pillar::pillar_files(&names)? {
        let bytes = objects.read_file(commit, name, SMALL_FILE).map_err(Failure::from)?.unwrap_or_default();
        files.push((format!("pillar/{name}"), text(&format!("pillar/{name}"), bytes)?));
    }
    Ok(files)
}

/// The head of the deploy branch.
pub(super) fn head(objects: &git::Objects, config: &ServerConfig) -> Result<Option<CommitId>, Failure> {
    let branch = |name: &String| RefName::parse(&format!("refs/heads/{name}"));
    let branches: Vec<RefName> = config.git.deploy_branches.iter().filter_map(branch).collect();
    let found = objects.branch_in_use(&branches).map_err(Failure::from)?;
    Ok(found.map(|(_, commit)| commit))
}

/// What Jinja in a pillar may name.
fn about(project: &ProjectName, mode: Mode, config: &ServerConfig) -> Value {
    let entry = |key: &str, value: &str| (key.to_owned(), Value::Text(value.to_owned()));
    Value::Map(vec![
        entry("project", project.as_str()),
        entry("mode", mode.as_str()),
        entry("platform", config.platform.as_str()),
    ])
}

pub(super) fn common(order: &Order, mode: Mode, config: &ServerConfig, merged: &Value) -> serde_json::Value {
    serde_json::json!({
        "project": order.project.name.as_str(),
        "deployment": order.number.0,
        "mode": mode.as_str(),
        "platform": config.platform.as_str(),
        "trigger": order.trigger.as_str(),
        "domain": config.router.domain,
        "pillar": pillar::to_json(merged),
    })
}
