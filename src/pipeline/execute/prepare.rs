//! pre_install: directories, an empty `build/`, the commit's tree in it.

use super::{Done, Execution, as_root, missing};
use crate::git;
use crate::layouts::ProjectPlaces;
use crate::layouts::catalogue::{self, DirectorySpec, Owner};
use crate::layouts::places::COMMON_FILE;
use crate::model::{Failure, Mode, Repository};
use crate::store::ProjectRecord;
use crate::system::UserIds;
use crate::system::files::Durability;
use crate::system::privileged::{Content, Operation};
use crate::system::reading;
use crate::trees;
use std::path::{Path, PathBuf};

/// Threads that write a tree: the machine's processors, but never a crowd.
pub const WRITERS: usize = 2;

impl Execution<'_> {
    pub(super) fn prepare_directories(&mut self) -> Result<Done, Failure> {
        make_directories(&self.order.project, &self.places, self.context.git.user)?;
        Done::quietly()
    }

    pub(super) fn wipe_build(&mut self) -> Result<Done, Failure> {
        let build_user = self.order.project.build_user;
        empty(&self.places.build(), build_user)?;
        make(&self.places.cache().join("home"), build_user, 0o700)?;
        self.write_environment_directory()?;
        self.write_common(build_user)?;
        Done::quietly()
    }

    pub(super) fn checkout(&mut self) -> Result<Done, Failure> {
        let source = self.gathered.source.as_ref().ok_or_else(|| missing("a commit"))?;
        let repository = self.places.repository(Repository::Project);
        let owner = self.order.project.build_user;
        let stats = tokio::task::block_in_place(|| {
            git::checkout(&repository, &source.tree, &self.places.build(), owner, WRITERS)
        })?;
        Ok(Done::Did(format!("{} files, {} bytes", stats.files, stats.bytes)))
    }

    /// One file per variable that the build may see, as classic buildpacks expect.
    fn write_environment_directory(&self) -> Result<(), Failure> {
        let directory = self.places.env_dir(self.order.number);
        let owner = self.order.project.build_user;
        make(self.places.runtime(), UserIds::of(0), 0o711)?;
        trees::remove_tree(&directory)?;
        make(&directory, owner, 0o500)?;
        for (name, value) in self.build_environment() {
            let path = directory.join(name);
            let content = Content(value.as_bytes().to_vec());
            as_root(&Operation::WriteFile { path, content, owner, mode: 0o400, durability: Durability::Volatile })?;
        }
        Ok(())
    }

    /// The common tree goes to the user who works next; earlier owners lose it.
    pub(super) fn write_common(&self, owner: UserIds) -> Result<(), Failure> {
        let directory = self.places.common_dir(self.order.number);
        trees::remove_tree(&directory)?;
        make(&directory, owner, 0o700)?;
        let content = Content(serde_json::to_vec_pretty(&self.work.common).unwrap_or_default());
        let path = directory.join(COMMON_FILE);
        as_root(&Operation::WriteFile { path, content, owner, mode: 0o600, durability: Durability::Volatile })
    }
}

/// Makes what is missing of a project's directories.
pub fn make_directories(project: &ProjectRecord, places: &ProjectPlaces, git: UserIds) -> Result<(), Failure> {
    let bound = is_bound(places);
    // Another tree may stand in its place by now.
    let is_run = |filled: u64| reading::inode(&places.run()).is_ok_and(|inode| inode == filled);
    let edited = bound || project.filled.is_some_and(is_run);
    for directory in catalogue::directories(if edited { Mode::Editable } else { Mode::Cooking }) {
        // What is below the mount stays ours: nobody else fills it.
        let below = !bound && places.directory(&directory.name) == places.project();
        let directory = if below { unmounted(directory) } else { directory };
        let id = |owner: &Owner| match owner {
            Owner::Root => 0,
            Owner::Git => git.uid,
            Owner::Build => project.build_user.uid,
            Owner::App => project.app_user.uid,
        };
        let owner = UserIds { uid: id(&directory.owner), gid: id(&directory.group) };
        make(&places.directory(&directory.name), owner, directory.mode)?;
    }
    make(places.logs(), UserIds::of(0), 0o750)?;
    make(places.runtime(), UserIds::of(0), 0o711)
}

/// Whether `run/` is seen at `project/`: also where a deployment was interrupted before it could write that down.
fn is_bound(places: &ProjectPlaces) -> bool {
    let place = |path: PathBuf| Some((reading::device(&path).ok()?, reading::inode(&path).ok()?));
    place(places.run()).is_some_and(|run| place(places.project()) == Some(run))
}

fn unmounted(directory: DirectorySpec) -> DirectorySpec {
    let all = catalogue::directories(Mode::Cooking);
    all.into_iter().find(|other| other.name == directory.name).unwrap_or(directory)
}

/// An empty directory in the place of whatever was there.
pub fn empty(path: &Path, owner: UserIds) -> Result<(), Failure> {
    tokio::task::block_in_place(|| trees::remove_tree(path))?;
    make(path, owner, 0o755)
}

fn make(path: &Path, owner: UserIds, mode: u32) -> Result<(), Failure> {
    as_root(&Operation::MakeDirectory { path: PathBuf::from(path), owner, mode })
}
