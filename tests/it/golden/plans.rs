//! What a deployment of each application of `tests/apps` would do, in each mode and for each trigger, and what would
//! undo it until its branch moves: `tests/plans/<mode>-<application>.txt`.

use super::{root, settle, strangers};
use commis::buildpacks::contract;
use commis::hooks::{self, Hook, Who};
use commis::model::{DeploymentNumber, Failure, Mode, ReleaseVersion, Trigger};
use commis::pipeline::data::{self, DataFacts};
use commis::pipeline::facts::{self, Building, EditsFound, Facts, From, Place, Supply};
use commis::pipeline::{Mover, plan, rollback};
use commis::store::DataState;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What of an application decides its plan.
struct App {
    name: String,
    /// Hooks and buildpack; or why gather refuses the tree.
    recipe: Result<Recipe, Failure>,
}

struct Recipe {
    hooks: BTreeSet<Hook>,
    buildpack: Option<String>,
    building: Building,
}

#[test]
fn plans_are_as_they_were_for_every_mode_and_application() {
    let mut written = Vec::new();
    for app in apps() {
        for mode in Mode::ALL {
            let path = format!("tests/plans/{}-{}.txt", mode.as_str(), app.name);
            settle(&path, &page(&app, mode));
            written.push(path);
        }
    }
    assert!(written.len() >= 3 * 10, "tests/apps has shrunk");
    assert_eq!(strangers("tests/plans", &written), Vec::<String>::new(), "plans of no application");
}

fn page(app: &App, mode: Mode) -> String {
    let title = format!("{} in mode {}\n", app.name, mode.as_str());
    match &app.recipe {
        Ok(recipe) => title + &plans(recipe, mode),
        Err(failure) => format!("{title}\nrefused, {}: {failure}\n", failure.code.as_str()),
    }
}

fn plans(recipe: &Recipe, mode: Mode) -> String {
    let hooks: Vec<&str> = recipe.hooks.iter().map(|hook| hook.name()).collect();
    let mut text = format!("buildpack: {}\n", recipe.buildpack.as_deref().unwrap_or("none"));
    writeln!(text, "hooks: {}", if hooks.is_empty() { "none".to_owned() } else { hooks.join(" ") }).unwrap();
    for (title, facts) in cases(recipe, mode) {
        let plan = plan::plan(&facts);
        let begun: Vec<_> = plan.steps().map(|(_, step)| step).collect();
        write!(text, "\n== {title}\n{plan}").unwrap();
        for (state, by) in [(DataState::Untouched, "undone by"), (DataState::Touched, "undone with data by")] {
            let undo: Vec<String> = rollback::undo(&facts, &begun, state).iter().map(ToString::to_string).collect();
            writeln!(text, "{by}: {}", undo.join(", ")).unwrap();
        }
    }
    text
}

/// Where the release comes from: in mode final from elsewhere, or from the shelf where it was put.
fn supply(mode: Mode, trigger: Trigger) -> Supply {
    match (mode, trigger) {
        (_, Trigger::Rollback) => Supply::Kept,
        (Mode::Final, Trigger::Redeploy) => Supply::Handed,
        (Mode::Final, _) => Supply::Fetched,
        (Mode::Editable | Mode::Cooking, _) => Supply::Cooked,
    }
}

/// What may set a deployment off, and how it finds the project. What is edited in place is rolled back by git alone.
fn cases(recipe: &Recipe, mode: Mode) -> Vec<(&'static str, Facts)> {
    let facts = |trigger| facts(recipe, mode, trigger);
    let at = |place, facts: Facts| Facts { place, ..facts };
    match mode {
        Mode::Cooking | Mode::Final => {
            let promote = (mode == Mode::Final).then_some(Trigger::Promote);
            let triggers = [Trigger::Push, Trigger::Redeploy, Trigger::Rollback].into_iter().chain(promote);
            let cases = triggers.map(|trigger| (trigger.as_str(), facts(trigger)));
            cases.chain([("rollback to a tree that was kept", at_hand(recipe, facts(Trigger::Rollback)))]).collect()
        }
        Mode::Editable => vec![
            ("first push", at(Place::Fresh(From::Commit), facts(Trigger::Push))),
            ("push", at(Place::InPlace, facts(Trigger::Push))),
            (
                "push over edits that are kept",
                Facts { edits: EditsFound::ToKeep, ..at(Place::InPlace, facts(Trigger::Push)) },
            ),
            ("redeploy", at(Place::InPlace, facts(Trigger::Redeploy))),
            ("first deployment without a remote", at(Place::Fresh(From::Directory), facts(Trigger::Redeploy))),
        ],
    }
}

/// Its hooks are known before it is deployed.
fn at_hand(recipe: &Recipe, facts: Facts) -> Facts {
    Facts { kept: Some(DeploymentNumber(2)), hooks: recipe.hooks.clone(), ..facts }
}

/// Nothing is built for what is rolled back to. Of a release whose tree is not here yet all hooks are planned that may be
/// in it.
fn facts(recipe: &Recipe, mode: Mode, trigger: Trigger) -> Facts {
    let supply = supply(mode, trigger);
    let all = || Hook::ALL.into_iter().filter(|hook| hook.runs_as() == Who::AppUser).collect();
    Facts {
        mode,
        trigger,
        supply,
        hooks: if supply == Supply::Cooked { recipe.hooks.clone() } else { all() },
        kept: None,
        buildpack: recipe.buildpack.clone().filter(|_| supply == Supply::Cooked),
        building: recipe.building,
        mover: if trigger == Trigger::Push { Mover::Us } else { Mover::Nobody },
        previous: Some(ReleaseVersion(1)),
        data: DataFacts { restorer: data::restorer(&recipe.hooks, &BTreeSet::new()), ..DataFacts::default() },
        place: Place::Beside,
        edits: EditsFound::Nothing,
    }
}

fn apps() -> Vec<App> {
    let mut names: Vec<_> =
        fs::read_dir(root().join("tests/apps")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.iter().map(|directory| app(directory)).collect()
}

fn app(directory: &Path) -> App {
    let name = directory.file_name().unwrap().to_string_lossy().into_owned();
    App { name, recipe: recipe(directory) }
}

/// Looks at a tree as gather does.
fn recipe(directory: &Path) -> Result<Recipe, Failure> {
    let mut files = BTreeMap::new();
    list(directory, directory, &mut files);
    let entries = files.iter().map(|(path, executable)| hooks::Entry {
        path,
        kind: if *executable { hooks::Kind::Executable } else { hooks::Kind::Plain },
    });
    let hooks: BTreeSet<Hook> = hooks::find(entries)?.into_keys().collect();
    let exists = |path: &str| files.contains_key(path);
    let executable = |path: &str| files.get(path) == Some(&true);
    let tree = commis::buildpacks::Tree { exists: &exists, executable: &executable };
    let choice = facts::buildpack(&hooks, tree, None)?;
    let known = choice.as_ref().and_then(|choice| contract::without_process(choice.pack, tree, &[]));
    let building = facts::building(&hooks, known.as_ref());
    Ok(Recipe { hooks, buildpack: choice.map(|choice| choice.pack.name.clone()), building })
}

/// Path and executable bit of every file below a directory.
fn list(root: &Path, directory: &Path, files: &mut BTreeMap<String, bool>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            list(root, &path, files);
        } else {
            let executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            files.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), executable);
        }
    }
}
