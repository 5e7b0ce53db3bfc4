//! What scripts and processes of a project see of the disk: nothing of the project but what they need. Pure.
//!
//! Builds see `build/` at the `run/` path, so that absolute paths in what they make are right once it is deployed.
//! Processes see their own release at that path whatever is exchanged outside, so old and new live side by side.

use crate::config::server::Network as Reach;
use crate::layouts::ProjectPlaces;
use crate::model::{DeploymentNumber, Mode, ProjectName};
use crate::system::job::{Access, Bind, Identity, Network, Privacy, View};
use std::path::{Path, PathBuf};

/// Where Debian has its programs.
const MACHINE_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What a build works on and with, where it is.
pub struct Tools<'a> {
    /// The tree that is built, seen at the path of `run/`.
    pub tree: &'a Path,
    /// This program.
    pub exe: &'a Path,
    /// Tools for buildpacks; left out when it is not there.
    pub tools: Option<&'a Path>,
    /// Installations with a `bin/` each, readable for us and perhaps not for the build user.
    pub toolchains: &'a [PathBuf],
    /// The chosen buildpack.
    pub buildpack: Option<&'a Path>,
}

/// The view of hooks and buildpacks up to bundle.
pub fn build_view(project: &ProjectName, places: &ProjectPlaces, number: DeploymentNumber, tools: &Tools<'_>) -> View {
    let mut binds = vec![
        writable(tools.tree.to_owned(), places.run()),
        writable(places.cache(), places.cache()),
        readable(places.env_dir(number), places.view_env()),
        writable(places.common_dir(number), places.view_common()),
        readable(tools.exe.to_owned(), places.view_bin().join("commis")),
    ];
    binds.extend(tools.tools.map(|path| readable(path.to_owned(), places.view_tools())));
    binds.extend(tools.buildpack.map(|path| readable(path.to_owned(), places.view_buildpack())));
    let toolchains = tools.toolchains.iter().enumerate();
    binds.extend(toolchains.map(|(at, path)| readable(path.clone(), places.view_toolchain(at))));
    view(places, binds, format!("{project}-build"), places.cache().join("home"))
}

/// The view of hooks from deploy on, of the `release:` line: the deployed tree at `run/`, read-only, and `data/`.
pub fn deploy_view(
    project: &ProjectName,
    places: &ProjectPlaces,
    number: DeploymentNumber,
    tree: &Path,
    exe: &Path,
) -> View {
    let mut view = app_view(project, places, tree, exe);
    view.binds.push(writable(places.common_dir(number), places.view_common()));
    view
}

/// The same with the dumps of a backup in it.
pub fn with_dumps(mut view: View, places: &ProjectPlaces, dumps: Option<PathBuf>, access: Access) -> View {
    view.binds.extend(dumps.map(|source| Bind { source, target: places.view_dumps(), access }));
    view
}

/// The view of the application's processes.
pub fn app_view(project: &ProjectName, places: &ProjectPlaces, tree: &Path, exe: &Path) -> View {
    let binds = vec![
        readable(tree.to_owned(), places.run()),
        writable(places.data(), places.data()),
        readable(exe.to_owned(), places.view_bin().join("commis")),
    ];
    view(places, binds, project.to_string(), places.run())
}

/// `PATH` of builds: the toolchains first, then our tools, then what the operator says instead of the machine's usual.
pub fn build_path(places: &ProjectPlaces, toolchains: usize, machine: Option<&str>) -> String {
    let toolchains = (0..toolchains).map(|at| places.view_toolchain(at).join("bin"));
    let ours: Vec<String> = toolchains
        .chain([places.view_tools(), places.view_bin()])
        .map(|directory| directory.display().to_string())
        .collect();
    format!("{}:{}", ours.join(":"), machine.unwrap_or(MACHINE_PATH))
}

/// `PATH` inside a view.
pub fn search_path(places: &ProjectPlaces) -> String {
    format!("{}:{MACHINE_PATH}", places.view_bin().display())
}

fn view(places: &ProjectPlaces, binds: Vec<Bind>, name: String, home: PathBuf) -> View {
    View {
        cover: Some(places.root().to_owned()),
        binds,
        tmp: Privacy::Private,
        identity: Some(Identity { name, home }),
        network: Network::Host,
        inside: None,
    }
}

/// The network of scripts from deploy on. In mode final the server has the last word, elsewhere the project.
pub fn deployment_network(mode: Mode, server: Reach, project: Option<Reach>) -> Network {
    let most = if mode == Mode::Final { server } else { Reach::Host };
    match (most, project.unwrap_or(most)) {
        (Reach::Host, Reach::Host) => Network::Host,
        (Reach::None, _) | (_, Reach::None) => Network::None,
    }
}

fn readable(source: PathBuf, target: PathBuf) -> Bind {
    Bind { source, target, access: Access::ReadOnly }
}

fn writable(source: PathBuf, target: PathBuf) -> Bind {
    Bind { source, target, access: Access::ReadWrite }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layouts::Places;

    #[test]
    fn builds_find_toolchains_first_and_the_machine_last() {
        let places = Places { projects: "/p".into(), state: "/s".into(), runtime: "/r".into(), logs: "/l".into() };
        let places = places.project(&ProjectName::parse("blog").unwrap());
        let path = build_path(&places, 1, None);
        assert_eq!(path, "/p/blog/toolchains/0/bin:/p/blog/tools:/p/blog/bin:/usr/local/bin:/usr/bin:/bin");
        assert_eq!(build_path(&places, 0, Some("/opt/bin")), "/p/blog/tools:/p/blog/bin:/opt/bin");
    }

    #[test]
    fn a_project_may_do_without_the_network_and_never_takes_one_that_the_server_forbids() {
        let table = |mode| {
            let asked = [(Reach::None, Some(Reach::Host)), (Reach::None, None), (Reach::Host, Some(Reach::None))];
            asked.map(|(server, project)| deployment_network(mode, server, project))
        };
        assert_eq!(table(Mode::Final), [Network::None; 3]);
        assert_eq!(table(Mode::Cooking), [Network::Host, Network::Host, Network::None]);
        assert_eq!(deployment_network(Mode::Final, Reach::Host, None), Network::Host);
    }

    #[test]
    fn a_process_sees_its_release_read_only_and_no_repository() {
        let places = Places { projects: "/p".into(), state: "/s".into(), runtime: "/r".into(), logs: "/l".into() };
        let blog = ProjectName::parse("blog").unwrap();
        let view = app_view(&blog, &places.project(&blog), Path::new("/p/blog/deploy/x"), Path::new("/usr/bin/commis"));
        assert_eq!(view.cover.as_deref(), Some(Path::new("/p/blog")));
        let seen: Vec<String> =
            view.binds.iter().map(|bind| format!("{} {:?}", bind.target.display(), bind.access)).collect();
        assert_eq!(seen, ["/p/blog/run ReadOnly", "/p/blog/data ReadWrite", "/p/blog/bin/commis ReadOnly"]);
    }
}
