//! What is looked at for a release from elsewhere: room for it, and today's pillar. Its tree is not here yet, so hooks and
//! defaults are looked for once it is (`execute/adopt.rs`).

use super::{Gathered, NamedTexts, about, common, read_pillar, unpacked};
use crate::config::ProjectConfig;
use crate::config::pillar::{self, DEFAULT_FILES, PillarSources, Value};
use crate::hooks::{Hook, Who};
use crate::model::{Code, Failure, Mode, ProjectName, ReleasePart};
use crate::pipeline::facts::{Facts, Supply};
use crate::pipeline::promotion::{Promotion, Source};
use crate::pipeline::room::{self, Copies, Writes};
use crate::pipeline::standing::may_go_back;
use crate::pipeline::{Context, Mover, Order, health, shelving};
use crate::storage::Usage;
use crate::storage::fitting::Makes;
use crate::trees::exclude::Exclude;
use std::collections::BTreeSet;
use std::path::Path;

pub(super) fn look(context: &Context, order: &Order, promotion: &Promotion) -> Result<Gathered, Failure> {
    let config = context.config();
    let name = &order.project.name;
    let mode = context.mode_of(&order.project);
    takes_releases(name, mode)?;
    // It would take the place of a tree whose edits are nowhere else.
    may_go_back(&order.project)?;
    let places = context.project_places(name);
    let (supply, writes) = supply(context, name, promotion)?;
    // What it leaves out stands in its tree: the whole of data/ is what there must be room for.
    let everything = Exclude::new(&[])?;
    let writes = Writes { copies: Copies::Backup(&everything), ..writes };
    let mut warnings = room::look(context, &order.project, &writes)?;
    warnings.extend(elsewhere_at(promotion, &places.run()));
    let (pillar_commit, pillar) = read_pillar(&places, &order.project, &config)?;
    let sources = PillarSources { defaults: Vec::new(), pillar };
    let merged = pillar::assemble(&sources, &about(name, mode, &config))?;
    Ok(Gathered {
        warnings,
        common: common(order, mode, &config, &merged),
        environment: pillar::environment(&merged)?,
        facts: Facts {
            supply,
            mover: promotion.branch.as_ref().map_or(Mover::Nobody, |branch| branch.mover),
            ..Facts::of_release(mode, order.trigger, (possible_hooks(), order.project.live))
        },
        ground: None,
        mode,
        source: None,
        pillar_commit,
        pillar: sources.pillar,
        settings: ProjectConfig::default(),
        config,
    })
}

/// What a build wrote down of its own place, such as the first lines of a virtual environment's programs, is wrong at
/// another one.
fn elsewhere_at(promotion: &Promotion, run: &Path) -> Option<String> {
    let Source::Upstream(upstream, head) = &promotion.source else { return None };
    let there = head.runs_at.as_ref().filter(|there| Path::new(there) != run)?;
    let (name, here) = (&upstream.name, run.display());
    Some(format!("{name} cooked it for {there}, here it runs at {here}: give both servers the same paths.projects"))
}

/// Where it is, and what it will take.
fn supply(context: &Context, name: &ProjectName, promotion: &Promotion) -> Result<(Supply, Writes<'static>), Failure> {
    let shelved = shelving::on_shelf(context, name, promotion)?;
    Ok(match (&promotion.source, shelved) {
        (_, Some(release)) => {
            (Supply::Handed, Writes { tree: unpacked(&release), makes: Makes::Tree, copies: Copies::None })
        }
        (Source::Upstream(_, head), None) => {
            let bytes = head.tree_bytes.max(head.size(ReleasePart::Archive));
            (Supply::Fetched, Writes { tree: Usage { bytes, inodes: 0 }, makes: Makes::Release, copies: Copies::None })
        }
        (Source::Shelf, None) => {
            let what = format!("{} of {name} is not here any more", promotion.version);
            return Err(Failure::new(Code::NotFound, what).hint("hand it in again: commis release push"));
        }
    })
}

/// The hooks that there may be in a tree that is not here yet; one that is not in it is skipped.
pub(super) fn possible_hooks() -> BTreeSet<Hook> {
    Hook::ALL.into_iter().filter(|hook| hook.runs_as() == Who::AppUser).collect()
}

/// Where something is built, nothing from elsewhere is deployed: their numbers would meet.
pub fn takes_releases(project: &ProjectName, mode: Mode) -> Result<(), Failure> {
    if mode == Mode::Final {
        return Ok(());
    }
    let what = format!("{project} is in mode {} here, and releases from elsewhere are for mode final", mode.as_str());
    Err(Failure::new(Code::Refused, what)
        .hint("set platform = \"prod\" in commis.toml, or create the project with --mode final"))
}

/// The pillar's defaults in a tree that was unpacked.
pub fn tree_defaults(tree: &Path) -> Result<NamedTexts, Failure> {
    let mut files = Vec::new();
    for name in DEFAULT_FILES {
        if let Some(text) = health::read(tree, name)? {
            files.push((name.to_owned(), text));
        }
    }
    Ok(files)
}

/// Pillar over defaults.
pub fn assemble(
    project: &ProjectName,
    gathered: &Gathered,
    (defaults, pillar): (NamedTexts, NamedTexts),
) -> Result<Value, Failure> {
    pillar::assemble(&PillarSources { defaults, pillar }, &about(project, gathered.mode, &gathered.config))
}
