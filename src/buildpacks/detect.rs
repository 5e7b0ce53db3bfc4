//! Which pack a tree needs, and why: decided from its file list and what the project asks for. Pure; the packs'
//! own `bin/detect` say the same and are there for other users of the packs.

use super::pack::{Detection, Pack};
use crate::model::{Code, Failure};

/// What can be asked about the tree of a commit. Paths are relative, with `/`.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    /// A file (not a directory) of this path is there.
    pub exists: &'a dyn Fn(&str) -> bool,
    /// It is there and executable.
    pub executable: &'a dyn Fn(&str) -> bool,
}

/// The pack for a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    pub pack: &'static Pack,
    /// What decided: a file (`requirements.txt`), or that the project asks for it.
    pub why: String,
}

/// The pack that the project asks for (`none` is the one that builds nothing), else the first whose files are there.
///
/// Errors: [`Code::BadConfig`] for a pack that is not known or whose scripts are missing, [`Code::NoRecipe`] with
/// what was looked for.
pub fn choose(tree: Tree<'_>, asked: Option<&str>) -> Result<Choice, Failure> {
    let packs = super::builtin();
    match asked {
        Some(name) => chosen_by_name(packs, tree, name),
        None => packs
            .iter()
            .find_map(|pack| Some(Choice { pack, why: evidence(pack, tree)? }))
            .ok_or_else(|| nothing_found(packs, tree)),
    }
}

fn chosen_by_name(packs: &'static [Pack], tree: Tree<'_>, name: &str) -> Result<Choice, Failure> {
    let wanted = if name == "none" { "procfile" } else { name };
    let Some(pack) = packs.iter().find(|pack| pack.name == wanted) else {
        let known: Vec<&str> = packs.iter().map(|pack| pack.name.as_str()).collect();
        return Err(Failure::new(Code::BadConfig, format!(".commis/project.toml: buildpack: '{name}' is not known"))
            .hint(format!("known are: {}, none", known.join(", "))));
    };
    if let Detection::Executables(files) = &pack.detection
        && let Some(file) = files.iter().find(|file| !(tree.executable)(file))
    {
        return Err(without_script(name, file, (tree.exists)(file)));
    }
    Ok(Choice { pack, why: format!("buildpack = \"{name}\" in .commis/project.toml") })
}

fn without_script(name: &str, file: &str, exists: bool) -> Failure {
    let what = |problem| Failure::new(Code::BadConfig, format!("buildpack '{name}': {file} {problem}"));
    if exists {
        what("is not executable").hint(format!("git update-index --chmod=+x {file}"))
    } else {
        what("is not there").hint(format!("add {file}, or ask for another buildpack in .commis/project.toml"))
    }
}

/// The file that makes `pack` the right one, if any.
fn evidence(pack: &Pack, tree: Tree<'_>) -> Option<String> {
    match &pack.detection {
        Detection::AnyFile(files) => files.iter().find(|file| (tree.exists)(file)).cloned(),
        Detection::Executables(files) => files.iter().all(|file| (tree.executable)(file)).then(|| files.join(", ")),
    }
}

fn nothing_found(packs: &[Pack], tree: Tree<'_>) -> Failure {
    let mut failure =
        Failure::new(Code::NoRecipe, "nothing says how to deploy this: no hooks, no known kind of project")
            .detail("looked for:");
    for pack in packs {
        failure = failure.detail(format!("{:<9} {}", pack.name, looked_for(pack, tree)));
    }
    failure
        .hint("a Procfile with a line 'web: COMMAND' is enough when nothing has to be built")
        .hint("an executable .commis/hooks/build builds whatever you like")
}

fn looked_for(pack: &Pack, tree: Tree<'_>) -> String {
    match &pack.detection {
        Detection::AnyFile(files) => files.join(", "),
        Detection::Executables(files) if files.iter().all(|file| (tree.exists)(file)) => {
            format!("{} are there, but not all executable (git update-index --chmod=+x)", files.join(", "))
        }
        Detection::Executables(files) => format!("{}, executable", files.join(", ")),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    /// A tree of these files; those with a star are executable.
    fn pick(files: &[&str], asked: Option<&str>) -> Result<Choice, Failure> {
        let exists = |path: &str| files.iter().any(|file| file.trim_end_matches('*') == path);
        let executable = |path: &str| files.contains(&format!("{path}*").as_str());
        choose(Tree { exists: &exists, executable: &executable }, asked)
    }

    fn picked(files: &[&str]) -> String {
        let choice = pick(files, None).unwrap();
        format!("{}: {}", choice.pack.name, choice.why)
    }

    #[test]
    fn the_first_pack_whose_files_are_there_is_taken() {
        assert_eq!(picked(&["Procfile", "requirements.txt"]), "python: requirements.txt");
        assert_eq!(picked(&["pyproject.toml", "package.json"]), "python: pyproject.toml");
        assert_eq!(picked(&["package.json", "index.html", "public/index.html"]), "nodejs: package.json");
        assert_eq!(picked(&["Cargo.toml", "Procfile"]), "rust: Cargo.toml");
        assert_eq!(picked(&["Procfile", "_site/index.html"]), "static: _site/index.html");
        assert_eq!(picked(&["Procfile", "docs/index.html"]), "procfile: Procfile");
        assert_eq!(picked(&["bin/detect*", "bin/compile*", "setup.py"]), "inline: bin/detect, bin/compile");
        assert_eq!(picked(&["bin/detect*", "bin/compile", "setup.py"]), "python: setup.py");
    }

    #[test]
    fn a_project_may_ask_for_a_pack() {
        assert_eq!(pick(&["requirements.txt", "package.json"], Some("nodejs")).unwrap().pack.name, "nodejs");
        assert_eq!(pick(&["requirements.txt"], Some("none")).unwrap().pack.name, "procfile");
        let failure = pick(&[], Some("ruby")).unwrap_err();
        assert_eq!(failure.code, Code::BadConfig);
        assert_eq!(failure.hints, ["known are: inline, python, nodejs, rust, static, procfile, none"]);
    }

    #[test]
    fn asking_for_inline_without_its_scripts_is_told_which_one_is_missing() {
        let failure = pick(&["bin/detect*", "bin/compile"], Some("inline")).unwrap_err();
        assert_eq!(failure.what, "buildpack 'inline': bin/compile is not executable");
        assert_eq!(failure.hints, ["git update-index --chmod=+x bin/compile"]);
        let failure = pick(&["bin/detect*"], Some("inline")).unwrap_err();
        assert_eq!(failure.what, "buildpack 'inline': bin/compile is not there");
    }

    #[test]
    fn a_tree_without_a_recipe_is_told_what_was_looked_for() {
        let failure = pick(&["README.md", "bin/detect", "bin/compile"], None).unwrap_err();
        assert_eq!(failure.code, Code::NoRecipe);
        assert_eq!(failure.details.len(), 7);
        assert!(failure.details[1].contains("not all executable"), "{:?}", failure.details);
        assert!(failure.details.contains(&"python    requirements.txt, pyproject.toml, uv.lock, setup.py".into()));
    }

    /// The decision from the file list, and the scripts run for real, over every application of the tests.
    #[test]
    fn the_scripts_say_the_same_as_the_file_list() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut seen = 0;
        for app in std::fs::read_dir(root.join("tests/apps")).unwrap() {
            let app = app.unwrap().path();
            let exists = |path: &str| app.join(path).is_file();
            let executable = |path: &str| app.join(path).metadata().is_ok_and(|m| m.permissions().mode() & 0o100 != 0);
            let tree = Tree { exists: &exists, executable: &executable };
            for pack in super::super::builtin().iter().filter(|pack| pack.name != "inline") {
                let script = root.join("buildpacks").join(&pack.name).join("bin/detect");
                let output = Command::new(script).arg(&app).output().unwrap();
                assert_eq!(output.status.success(), evidence(pack, tree).is_some(), "{} {}", pack.name, app.display());
                if output.status.success() {
                    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), pack.summary);
                }
                seen += 1;
            }
            assert!(choose(tree, None).is_ok(), "{}", app.display());
        }
        assert!(seen >= 5 * 10, "tests/apps has shrunk: {seen}");
    }
}
