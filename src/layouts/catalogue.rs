//! Reads the shapes of projects from the top-level `layouts/` (embedded): which directories there are, whose, and
//! with which mode. Pure: names and numbers only; paths are in [`super::places`], making directories is `pipeline/`.

use crate::model::Mode;
use serde::Deserialize;

const DEFAULT: &str = include_str!("../../layouts/default.toml");

/// One directory of a project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectorySpec {
    /// Relative to the project's root; `.` is the root itself. Parents come before children.
    pub name: String,
    pub owner: Owner,
    pub group: Owner,
    /// Permission bits, such as `0o750`.
    pub mode: u32,
}

/// Which user a directory belongs to. The numbers behind are per project, except root's and git's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    Root,
    /// The user that runs git.
    Git,
    /// The project's build user.
    Build,
    /// The project's application user.
    App,
}

/// The directories of the default layout, in the order in which they are made, as they are in a mode.
pub fn directories(mode: Mode) -> Vec<DirectorySpec> {
    parse(DEFAULT, mode).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    directory: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    owner: Owner,
    group: Option<Owner>,
    mode: String,
    /// What is different while `run/` is edited in place.
    editable: Option<Owned>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owned {
    owner: Owner,
    group: Option<Owner>,
    mode: String,
}

/// Permission bits and set-gid.
const MODES: u32 = 0o2777;

/// `None` for text that is not a layout; the embedded one always is, as a test keeps.
fn parse(text: &str, mode: Mode) -> Option<Vec<DirectorySpec>> {
    let file: File = toml::from_str(text).ok()?;
    file.directory.into_iter().map(|written| spec(written, mode)).collect()
}

fn spec(written: Written, mode: Mode) -> Option<DirectorySpec> {
    let default = Owned { owner: written.owner, group: written.group, mode: written.mode };
    let Owned { owner, group, mode } = match (mode, written.editable) {
        (Mode::Editable, Some(editable)) => editable,
        (Mode::Editable | Mode::Cooking | Mode::Final, _) => default,
    };
    let mode = u32::from_str_radix(&mode, 8).ok().filter(|mode| *mode & !MODES == 0)?;
    Some(DirectorySpec { name: written.name, owner, group: group.unwrap_or(owner), mode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layouts::Places;
    use crate::model::ProjectName;
    use std::path::{Path, PathBuf};

    #[test]
    fn the_layout_and_the_places_name_the_same_directories() {
        let root = PathBuf::from("/r");
        let places = Places { projects: root.clone(), state: root.clone(), runtime: root.clone(), logs: root };
        let blog = places.project(&ProjectName::parse("blog").unwrap());
        let named = [
            blog.root().join("."),
            blog.git(),
            blog.project(),
            blog.pillar(),
            blog.data(),
            blog.build(),
            blog.run(),
            blog.deploy(),
            blog.releases(),
            blog.archives(),
            blog.cache(),
            blog.cache().join("home"),
            blog.trash(),
        ];
        let made: Vec<PathBuf> = directories(Mode::Cooking).iter().map(|spec| blog.root().join(&spec.name)).collect();
        assert_eq!(made, named);
    }

    #[test]
    fn nobody_but_root_reads_configuration_and_releases() {
        for directories in Mode::ALL.map(directories) {
            for name in ["pillar", "releases", "archives", "deploy"] {
                let spec = directories.iter().find(|spec| spec.name == name).unwrap();
                assert_eq!((spec.owner, spec.mode), (Owner::Root, 0o700), "{name}");
            }
            assert!(directories.iter().all(|spec| spec.mode & 0o022 == 0), "nothing is writable by others");
            assert!(directories.iter().all(|spec| Path::new(&spec.name).is_relative()));
        }
    }

    #[test]
    fn an_edited_tree_is_its_builders_and_the_application_reads_it() {
        let edited = directories(Mode::Editable);
        for name in ["run", "project"] {
            let spec = edited.iter().find(|spec| spec.name == name).unwrap();
            assert_eq!((spec.owner, spec.group, spec.mode), (Owner::Build, Owner::App, 0o2750), "{name}");
        }
        let run = directories(Mode::Cooking).into_iter().find(|spec| spec.name == "run").unwrap();
        assert_eq!((run.owner, run.mode), (Owner::Root, 0o750));
    }

    #[test]
    fn a_layout_with_a_bad_mode_or_an_unknown_key_is_not_a_layout() {
        let good = "[[directory]]\nname = \"x\"\nowner = \"app\"\nmode = \"0750\"\n";
        assert_eq!(parse(good, Mode::Cooking).unwrap()[0].mode, 0o750);
        for bad in [good.replace("0750", "0789"), good.replace("0750", "4755"), good.replace("owner", "user")] {
            assert_eq!(parse(&bad, Mode::Cooking), None, "{bad}");
        }
    }
}
