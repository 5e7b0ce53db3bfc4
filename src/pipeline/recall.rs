//! Looking at what is there of earlier deployments: the hooks of the tree in `run/`, what a backup holds, and a deployment
//! that an earlier life left in the middle. Chooses nothing.

use super::Order;
use super::context::Context;
use super::data::{self, Asked, DataFacts, Holds};
use super::facts::Facts;
use super::gather::{self, Gathered};
use super::health;
use super::step::Step;
use crate::config::ProjectConfig;
use crate::config::pillar::Value;
use crate::config::project::BackupPolicy;
use crate::hooks::{self, Hook, Who};
use crate::layouts::ProjectPlaces;
use crate::model::{Code, DeploymentNumber, Failure};
use crate::store::{Backup, DeploymentRecord, ReleaseRecord};
use crate::system::reading;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SMALL_FILE: u64 = 1 << 20;

/// What the tree of a release says about itself: hooks that run as the application, and settings.
///
/// # Errors
/// `BadConfig` naming file and line.
pub fn declared(tree: &Path) -> Result<(BTreeSet<Hook>, ProjectConfig), Failure> {
    let is_there = |hook: &Hook| reading::is_program(&tree.join(hooks::DIRECTORY).join(hook.name()));
    let of_application = Hook::ALL.into_iter().filter(|hook| hook.runs_as() == Who::AppUser);
    Ok((of_application.filter(is_there).collect(), health::settings(tree)?))
}

/// The hooks of the live tree that matter to another one: `restore`.
pub fn live_hooks(places: &ProjectPlaces) -> BTreeSet<Hook> {
    tree_hooks(&places.run())
}

fn tree_hooks(tree: &Path) -> BTreeSet<Hook> {
    let is_there = |hook: &Hook| reading::is_program(&tree.join(hooks::find::DIRECTORY).join(hook.name()));
    [Hook::Restore].into_iter().filter(is_there).collect()
}

/// What decides about data when an earlier release is deployed.
///
/// # Errors
/// `NotFound` or `Refused` when the backup that it was asked to put back cannot be.
pub fn data_facts(
    context: &Context,
    order: &Order,
    (hooks, settings): (&BTreeSet<Hook>, &ProjectConfig),
) -> Result<DataFacts, Failure> {
    let places = context.project_places(&order.project.name);
    let restorer = data::restorer(hooks, &live_hooks(&places));
    let asked = order.with_data.map(|archive| look_at_backup(context, order, archive)).transpose()?;
    if asked.is_some_and(|asked| asked.holds.dumps()) && restorer.is_none() {
        let what = "the backup has a dump, and neither release has a hook restore to read it";
        let hint =
            format!("it is in {}", places.dumps(&places.archived(order.with_data.unwrap_or(order.number))).display());
        return Err(Failure::new(Code::Refused, what).hint(hint));
    }
    Ok(DataFacts { policy: settings.data.backup, declared: settings.data.rollback, asked, restorer })
}

fn look_at_backup(context: &Context, order: &Order, archive: DeploymentNumber) -> Result<Asked, Failure> {
    let places = context.project_places(&order.project.name);
    let row = context.store.deployment(&order.project.name, archive)?;
    let holds = row.and_then(|row| held(&places, &row));
    let what = || format!("archives/{} has no backup of data", archive.0);
    let hint = || format!("commis releases {} lists them", order.project.name);
    let holds = holds.ok_or_else(|| Failure::new(Code::NotFound, what()).hint(hint()))?;
    Ok(Asked { archive, holds })
}

/// What the backup of a deployment holds.
fn held(places: &ProjectPlaces, row: &DeploymentRecord) -> Option<Holds> {
    let archive = places.archived(row.number);
    match row.data.backup {
        Backup::Empty => Some(Holds::Copy),
        Backup::Done => Holds::of(places.archived_data(&archive).is_dir(), places.dumps(&archive).is_dir()),
        Backup::None | Backup::Begun => None,
    }
}

/// A deployment that an earlier life left in the middle.
pub struct Interrupted {
    /// As gather would have seen it, as far as undoing it needs that.
    pub gathered: Gathered,
    /// The steps that an undoing has to know of.
    pub begun: Vec<Step>,
    /// Where its tree is.
    pub tree: PathBuf,
}

/// Looks at one. The switch is told by the inode of `run/`.
pub fn interrupted(context: &Context, order: &Order, row: &DeploymentRecord) -> Result<Interrupted, Failure> {
    let places = context.project_places(&order.project.name);
    let (deployed, run) = (places.deployed(row.tree.as_deref().unwrap_or_default()), places.run());
    // Where an undoing puts it, and from where it was perhaps not taken yet.
    let aside = match row.kept.taken {
        Some(archive) => places.archived_run(archive),
        None => places.failed_run(row.number).join("run"),
    };
    let exchanged = row.tree_inode.is_some_and(|inode| reading::inode(&run).is_ok_and(|now| now == inode));
    let mut begun = vec![if row.kept.taken.is_some() { Step::Take } else { Step::Unpack }, Step::BackUp];
    begun.extend(exchanged.then_some(Step::Exchange));
    let (new, old) = match exchanged {
        true => (run, deployed),
        false if aside.is_dir() => (aside, run),
        false => (deployed, run),
    };
    let gathered = as_gathered(context, order, row, (&new, &old))?;
    Ok(Interrupted { gathered, begun, tree: new })
}

fn as_gathered(
    context: &Context,
    order: &Order,
    row: &DeploymentRecord,
    (new, old): (&Path, &Path),
) -> Result<Gathered, Failure> {
    let (config, places) = (context.config(), context.project_places(&order.project.name));
    let mode = context.mode_of(&order.project);
    let name = &order.project.name;
    let release = row.version.map(|version| context.store.release(name, version)).transpose()?.flatten();
    let holds = held(&places, row);
    let mut hooks = tree_hooks(new);
    let restorer = data::restorer(&hooks, &tree_hooks(old));
    hooks.extend(holds.filter(|holds| holds.dumps()).map(|_| Hook::Backup));
    let policy = holds.filter(|holds| holds.copy()).map_or(BackupPolicy::Hooks, |_| BackupPolicy::Full);
    let data = DataFacts { policy, restorer, ..DataFacts::default() };
    let kept = row.kept.taken;
    let facts = Facts { data, kept, ..Facts::of_release(mode, order.trigger, (hooks, order.project.live)) };
    Ok(Gathered {
        common: gather::common(order, mode, &config, &Value::Map(Vec::new())),
        facts,
        mode,
        source: None,
        pillar: Vec::new(),
        pillar_commit: None,
        environment: release.as_ref().map(ReleaseRecord::variables).unwrap_or_default(),
        settings: settings_of(new),
        warnings: Vec::new(),
        ground: None,
        config,
    })
}

/// What a tree says about itself; it was understood once, when it was gathered.
fn settings_of(tree: &Path) -> ProjectConfig {
    const FILE: &str = ".commis/project.toml";
    let bytes = reading::read_beneath(tree, FILE, SMALL_FILE).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    ProjectConfig::parse(&text, FILE).unwrap_or_default()
}

/// Whose backups there are, oldest first.
pub fn backups(places: &ProjectPlaces) -> Result<Vec<DeploymentNumber>, Failure> {
    let mut numbers: Vec<u32> =
        reading::names(&places.archives())?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(DeploymentNumber).collect())
}
