//! gather: looks at everything once, before anything is changed. Chooses nothing; what it saw is what is planned from.
//!
//! A tree, Procfile, pillar or project file that cannot be understood ends the deployment here.

use super::context::Context;
use super::data::{self, DataFacts};
use super::facts::{self, Building, Facts, Supply};
use super::recall::{self, live_hooks};
use super::room::{self, Writes};
use super::{Goal, Mover, Order};
use crate::archives::Manifest;
use crate::archives::backup::Exclude;
use crate::buildpacks::{self, Choice, ReleaseInfo};
use crate::config::pillar::{self, PillarSources, Value};
use crate::config::project::BackupPolicy;
use crate::config::{AppJson, ProjectConfig, ServerConfig, procfile};
use crate::git::{self, Kind, Tree, TreeLimits};
use crate::hooks::{self, Hook};
use crate::model::{Code, CommitId, Failure, Mode, ProjectName, RefName, ReleaseVersion, Repository};
use crate::storage::Usage;
use crate::storage::fitting::Makes;
use crate::store::{ProjectRecord, ReleaseRecord};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
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

const SMALL_FILE: usize = 1 << 20;

mod elsewhere;
pub use elsewhere::{assemble, tree_defaults};

/// Looks.
///
/// # Errors
/// `Refused`, `BadConfig`, `NoRecipe` for what the project or its pillar got wrong, `DiskFull` when it cannot fit.
pub fn look(context: &Context, order: &Order) -> Result<Gathered, Failure> {
    match &order.goal {
        Goal::Commit { commit, mover, .. } => look_at(context, order, (commit, *mover)),
        Goal::Release(version) => look_back(context, order, *version),
        Goal::Promotion(promotion) => elsewhere::look(context, order, promotion),
    }
}

/// A commit to be built, with today's pillar.
fn look_at(context: &Context, order: &Order, (commit, mover): (&CommitId, Mover)) -> Result<Gathered, Failure> {
    let config = context.config();
    let places = context.project_places(&order.project.name);
    let (pillar_commit, pillar) = read_pillar(&places.repository(Repository::Pillar), &config)?;
    let objects = git::open(&places.repository(Repository::Project)).map_err(Failure::from)?;
    let tree = objects.tree(commit, &limits(&config))?;
    let files = ProjectFiles { objects: &objects, commit, tree: &tree };
    let settings = files.settings()?;
    let mode = settings.mode.unwrap_or(context.mode_of(&order.project));
    require_cooking(&order.project.name, mode)?;
    let sources = PillarSources { defaults: files.pillar_defaults()?, pillar };
    let (hooks, choice) = files.recipe(&settings)?;
    let merged = pillar::assemble(&sources, &about(&order.project.name, mode, &config))?;
    let environment = pillar::environment(&merged)?;
    let known = choice.as_ref().and_then(|choice| known_release(choice, &tree, (&settings, &environment)));
    let declared: BTreeSet<Hook> = hooks.keys().copied().collect();
    let facts = Facts {
        mode,
        trigger: order.trigger,
        building: facts::building(&declared, known.as_ref()),
        supply: Supply::Cooked,
        hooks: declared.clone(),
        buildpack: choice.as_ref().map(|choice| choice.pack.name.clone()),
        mover,
        previous: order.project.live,
        data: DataFacts {
            policy: settings.data.backup,
            declared: settings.data.rollback,
            asked: None,
            restorer: data::restorer(&declared, &live_hooks(&places)),
        },
    };
    let warnings = fits(context, order, (&tree, facts.building), &settings)?;
    let common = common(order, mode, &config, &merged);
    let source = Some(Source { commit: commit.clone(), tree, hooks, choice, known });
    let pillar = sources.pillar;
    Ok(Gathered { config, facts, mode, source, pillar_commit, pillar, common, environment, settings, warnings })
}

/// Whether there is room for all that a commit comes to.
fn fits(
    context: &Context,
    order: &Order,
    (tree, building): (&Tree, Building),
    settings: &ProjectConfig,
) -> Result<Vec<String>, Failure> {
    let makes = match building {
        Building::Runs => Makes::Build,
        Building::Nothing => Makes::Release,
    };
    let exclude = Exclude::new(&settings.data.exclude)?;
    let backs_up = (settings.data.backup == BackupPolicy::Full).then_some(&exclude);
    let tree = Usage { bytes: tree.bytes, inodes: tree.entries.len() as u64 };
    room::look(context, &order.project, &Writes { tree, makes, backs_up })
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
/// open also when that is what broke.
fn look_back(context: &Context, order: &Order, version: ReleaseVersion) -> Result<Gathered, Failure> {
    let config = context.config();
    let mode = context.mode_of(&order.project);
    let release = context.store.release(&order.project.name, version)?;
    let remembered = release.as_ref().and_then(|release| remember(context, order, release).ok());
    let (hooks, merged, settings) = remembered.unwrap_or_else(|| {
        // No commit of one from elsewhere need be here: its tree will say.
        let unseen = release.as_ref().is_some_and(ReleaseRecord::is_from_elsewhere);
        let hooks = if unseen { elsewhere::possible_hooks() } else { BTreeSet::new() };
        (hooks, Value::Map(Vec::new()), ProjectConfig::default())
    });
    let data = recall::data_facts(context, order, (&hooks, &settings))?;
    let facts = Facts {
        mode,
        trigger: order.trigger,
        hooks,
        buildpack: None,
        building: Building::Nothing,
        supply: Supply::Kept,
        mover: Mover::Nobody,
        previous: order.project.live,
        data,
    };
    // Its backup is compared when it is made; the way back is not closed here by what may yet fit.
    let tree = release.as_ref().map(unpacked).unwrap_or_default();
    let writes = Writes { tree, makes: Makes::Tree, backs_up: None };
    Ok(Gathered {
        warnings: room::look(context, &order.project, &writes)?,
        common: common(order, mode, &config, &merged),
        facts,
        mode,
        source: None,
        pillar: Vec::new(),
        pillar_commit: release.as_ref().and_then(ReleaseRecord::pillar_commit_id),
        environment: release.as_ref().map(ReleaseRecord::variables).unwrap_or_default(),
        settings,
        config,
    })
}

/// What the tree of a release takes.
fn unpacked(release: &ReleaseRecord) -> Usage {
    let tree = Manifest::parse(release.manifest.as_bytes()).map(|manifest| manifest.tree);
    tree.map(|tree| Usage { bytes: tree.bytes, inodes: tree.files }).unwrap_or_default()
}

/// Hooks and pillar as the release's commits have them. A commit may be gone, when its branch was rewritten.
fn remember(
    context: &Context,
    order: &Order,
    release: &ReleaseRecord,
) -> Result<(BTreeSet<Hook>, Value, ProjectConfig), Failure> {
    let config = context.config();
    let name = &order.project.name;
    let places = context.project_places(name);
    let gone = || Failure::new(Code::NotFound, "the release's commit is gone");
    let commit = release.commit_id().ok_or_else(gone)?;
    let objects = git::open(&places.repository(Repository::Project)).map_err(Failure::from)?;
    let tree = objects.tree(&commit, &limits(&config))?;
    let hooks = hooks::find(tree.entries.iter().map(hook_entry))?.into_keys().collect();
    let files = ProjectFiles { objects: &objects, commit: &commit, tree: &tree };
    let (defaults, settings) = (files.pillar_defaults()?, files.settings()?);
    let pillar = match release.pillar_commit_id() {
        Some(commit) => {
            let objects = git::open(&places.repository(Repository::Pillar)).map_err(Failure::from)?;
            pillar_at(&objects, &commit, &config)?
        }
        None => Vec::new(),
    };
    let about = about(name, context.mode_of(&order.project), &config);
    // What a release is built with, and how it is checked, is decided: only what is kept of data matters again.
    let settings = ProjectConfig { data: settings.data, ..ProjectConfig::default() };
    Ok((hooks, pillar::assemble(&PillarSources { defaults, pillar }, &about)?, settings))
}

/// The pillar's `env:` over the defaults of the commit that the deploy branch names.
pub fn pillar_environment(context: &Context, project: &ProjectRecord) -> Result<Vec<(String, String)>, Failure> {
    let config = context.config();
    let places = context.project_places(&project.name);
    let (_, pillar) = read_pillar(&places.repository(Repository::Pillar), &config)?;
    let objects = git::open(&places.repository(Repository::Project)).map_err(Failure::from)?;
    let mut defaults = Vec::new();
    if let Some(commit) = head(&objects, &config)? {
        let tree = objects.tree(&commit, &limits(&config))?;
        defaults = ProjectFiles { objects: &objects, commit: &commit, tree: &tree }.pillar_defaults()?;
    }
    let about = about(&project.name, context.mode_of(project), &config);
    pillar::environment(&pillar::assemble(&PillarSources { defaults, pillar }, &about)?)
}

/// A commit is built in mode cooking only.
fn require_cooking(project: &ProjectName, mode: Mode) -> Result<(), Failure> {
    match mode {
        Mode::Cooking => Ok(()),
        Mode::Final => {
            let what = format!("{project} is in mode final here: nothing is built, releases come from elsewhere");
            Err(Failure::new(Code::Refused, what).hint(format!("commis promote {project}")))
        }
        Mode::Editable => {
            let what = format!("{project} is in mode {}, which this version does not deploy yet", mode.as_str());
            let hint = "set platform = \"staging\" in commis.toml, or mode = \"cooking\" in .commis/project.toml";
            Err(Failure::new(Code::Refused, what).hint(hint))
        }
    }
}

fn limits(config: &ServerConfig) -> TreeLimits {
    TreeLimits {
        max_files: config.trees.max_files as usize,
        max_bytes: config.trees.max_bytes,
        max_file: config.trees.max_file,
        max_depth: config.trees.max_depth as usize,
        ..TreeLimits::default()
    }
}

/// The head of the pillar and its files, in merge order.
fn read_pillar(repository: &Path, config: &ServerConfig) -> Result<(Option<CommitId>, NamedTexts), Failure> {
    let objects = git::open(repository).map_err(Failure::from)?;
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
fn head(objects: &git::Objects, config: &ServerConfig) -> Result<Option<CommitId>, Failure> {
    let branch = |name: &String| RefName::parse(&format!("refs/heads/{name}"));
    let branches: Vec<RefName> = config.git.deploy_branches.iter().filter_map(branch).collect();
    let found = objects.branch_in_use(&branches).map_err(Failure::from)?;
    Ok(found.map(|(_, commit)| commit))
}

/// The files of a commit that configure us.
struct ProjectFiles<'a> {
    objects: &'a git::Objects,
    commit: &'a CommitId,
    tree: &'a Tree,
}

impl ProjectFiles<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        if !self.tree.entries.iter().any(|entry| entry.path == path) {
            return Ok(None);
        }
        self.objects.read_file(self.commit, path, SMALL_FILE).map_err(Failure::from)
    }

    fn settings(&self) -> Result<ProjectConfig, Failure> {
        const FILE: &str = ".commis/project.toml";
        match self.read(FILE)? {
            Some(bytes) => ProjectConfig::parse(&text(FILE, bytes)?, FILE),
            None => Ok(ProjectConfig::default()),
        }
    }

    fn pillar_defaults(&self) -> Result<Vec<(String, String)>, Failure> {
        let names: Vec<&str> = self.tree.entries.iter().map(|entry| entry.path.as_str()).collect();
        let mut files = Vec::new();
        for name in pillar::default_files(&names) {
            if let Some(bytes) = self.read(name)? {
                files.push((name.to_owned(), text(name, bytes)?));
            }
        }
        Ok(files)
    }

    /// Hooks and buildpack; also reads what would only fail later: Procfile and app.json.
    fn recipe(&self, settings: &ProjectConfig) -> Result<(BTreeMap<hooks::Hook, String>, Option<Choice>), Failure> {
        if self.tree.entries.is_empty() {
            return Err(
                Failure::new(Code::Refused, "the pushed commit has no files").hint("add files, commit, push again")
            );
        }
        if let Some(bytes) = self.read("Procfile")? {
            procfile::parse(&bytes)?;
        }
        if let Some(bytes) = self.read("app.json")? {
            AppJson::parse(&text("app.json", bytes)?)?;
        }
        let hooks = hooks::find(self.tree.entries.iter().map(hook_entry))?;
        let declared = hooks.keys().copied().collect();
        let choice = with_files(self.tree, |tree| facts::buildpack(&declared, tree, settings.buildpack.as_deref()))?;
        Ok((hooks, choice))
    }
}

/// Questions that buildpacks ask about a tree's files.
pub fn with_files<R>(tree: &Tree, ask: impl FnOnce(buildpacks::Tree<'_>) -> R) -> R {
    let files: HashMap<&str, &Kind> = tree.entries.iter().map(|entry| (entry.path.as_str(), &entry.kind)).collect();
    let executable = |path: &str| matches!(files.get(path), Some(Kind::File { executable: true }));
    ask(buildpacks::Tree { exists: &|path| files.contains_key(path), executable: &executable })
}

fn hook_entry(entry: &git::Entry) -> hooks::Entry<'_> {
    let kind = match entry.kind {
        Kind::File { executable: true } => hooks::Kind::Executable,
        Kind::File { executable: false } => hooks::Kind::Plain,
        Kind::Symlink { .. } => hooks::Kind::Link,
    };
    hooks::Entry { path: &entry.path, kind }
}

/// A file's bytes as text; the failure names the line that is not UTF-8.
pub fn text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        Failure::new(Code::BadConfig, format!("{name} line {line}: not UTF-8")).hint("save the file as UTF-8")
    })
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
