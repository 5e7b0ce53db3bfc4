//! `run/` seen at `project/`: what the mount table should say, what it says, and what brings the one to the other. The
//! table is a function of the journal: it is compared at each start of the server and before each deployment.

use crate::layouts::ProjectPlaces;
use crate::model::{Code, Failure};
use crate::system::mount_table::{self, Mounted, Shown};
use crate::system::privileged::{self, Operation};
use crate::system::{UserIds, reading};
use std::path::{Path, PathBuf};

/// What should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// `run/` is seen at `project/`, once.
    Bound,
    /// Nothing of ours is.
    Unbound,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Mount,
    Unmount,
}

/// Something is mounted there that we did not put there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Foreign;

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Settled {
    pub mounted: usize,
    pub unmounted: usize,
}

/// Makes the mount table what it should be. Nothing is deleted, and nothing is hidden: a directory that holds something,
/// a link, or somebody else's mount in the place is a failure that says so.
pub fn settle(places: &ProjectPlaces, wanted: Wanted) -> Result<Settled, Failure> {
    let failed = |error: std::io::Error| Failure::internal("look at the mounts of the project", &error);
    let root = match std::fs::canonicalize(places.root()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Settled::default()),
        root => root.map_err(failed)?,
    };
    let table = mount_table::read()?;
    let (source, target) = (name_of(places.run()), name_of(places.project()));
    let acts = decide(&table, (&root, &source, &target), wanted).map_err(|Foreign| {
        let what = format!("something else is mounted on {}", places.project().display());
        Failure::new(Code::Refused, what).hint(format!("unmount it: umount {}", places.project().display()))
    })?;
    let mut settled = Settled::default();
    for act in acts {
        match act {
            Act::Unmount => {
                privileged::perform(&Operation::Unbind { beneath: root.clone(), target: target.clone() })?;
                settled.unmounted += 1;
            }
            Act::Mount => {
                prepare_target(places)?;
                let (beneath, source, target) = (root.clone(), source.clone(), target.clone());
                privileged::perform(&Operation::Bind { beneath, source, target })?;
                settled.mounted += 1;
            }
        }
    }
    Ok(settled)
}

/// Pure.
fn decide(
    table: &[Mounted],
    (root, source, target): (&Path, &Path, &Path),
    wanted: Wanted,
) -> Result<Vec<Act>, Foreign> {
    let layers = mount_table::layers(table, &root.join(target));
    let run = mount_table::below_mounts(table, &root.join(source));
    let ours = mount_table::below_mounts(table, &root.join("."));
    let is_ours = |layer: &&&Shown| ours.as_ref().is_some_and(|ours| layer.is_within(ours));
    let is_run = |layer: &&Shown| run.as_ref() == Some(*layer);
    match wanted {
        Wanted::Unbound => Ok(layers.iter().rev().take_while(is_ours).map(|_| Act::Unmount).collect()),
        Wanted::Bound if layers.iter().any(|layer| !is_ours(&layer)) => Err(Foreign),
        Wanted::Bound if layers.first().is_some_and(is_run) && layers.iter().all(is_run) => {
            Ok(layers.iter().skip(1).map(|_| Act::Unmount).collect())
        }
        Wanted::Bound => Ok(layers.iter().map(|_| Act::Unmount).chain([Act::Mount]).collect()),
    }
}

/// The empty directory below the mount. One that is missing is made; what else stands there stays.
fn prepare_target(places: &ProjectPlaces) -> Result<(), Failure> {
    let target = places.project();
    let refused = |why: &str, hint: &str| {
        let what = format!("{} {why}, where run/ should be seen", target.display());
        Err(Failure::new(Code::Refused, what).hint(hint))
    };
    match std::fs::symlink_metadata(&target) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            privileged::perform(&Operation::MakeDirectory { path: target, owner: UserIds::of(0), mode: 0o700 })
        }
        Err(error) => Err(Failure::internal("look at project/", &error)),
        Ok(data) if data.is_symlink() => refused("is a symbolic link", "remove the link, and put nothing in its place"),
        Ok(data) if !data.is_dir() => refused("is not a directory", "move it away"),
        Ok(_) if reading::has_any(&target)? => refused("is not empty", "move what stands there away"),
        Ok(_) => Ok(()),
    }
}

fn name_of(path: PathBuf) -> PathBuf {
    path.file_name().map(PathBuf::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "22 1 254:0 / / rw - ext4 a rw\n";
    const BOUND: &str = "31 22 254:0 /p/blog/run /p/blog/project rw - ext4 a rw\n";
    /// After an exchange the mount still shows the tree that was `run/`.
    const OLD: &str = "32 22 254:0 /p/blog/deploy/x /p/blog/project rw - ext4 a rw\n";
    const FOREIGN: &str = "33 22 254:0 /home/jane /p/blog/project rw - ext4 a rw\n";

    fn acts(lines: &[&str], wanted: Wanted) -> Result<Vec<Act>, Foreign> {
        let table = mount_table::parse(format!("{MACHINE}{}", lines.concat()).as_bytes());
        decide(&table, (Path::new("/p/blog"), Path::new("run"), Path::new("project")), wanted)
    }

    #[test]
    fn the_table_is_brought_to_one_mount_or_none() {
        use Act::{Mount, Unmount};
        for (lines, wanted, expected) in [
            (&[][..], Wanted::Bound, &[Mount][..]),
            (&[BOUND], Wanted::Bound, &[]),
            (&[BOUND, BOUND, BOUND], Wanted::Bound, &[Unmount, Unmount]),
            (&[OLD], Wanted::Bound, &[Unmount, Mount]),
            (&[OLD, BOUND], Wanted::Bound, &[Unmount, Unmount, Mount]),
            (&[], Wanted::Unbound, &[]),
            (&[BOUND, OLD], Wanted::Unbound, &[Unmount, Unmount]),
            (&[FOREIGN], Wanted::Unbound, &[]),
            (&[BOUND, FOREIGN], Wanted::Unbound, &[]),
        ] {
            assert_eq!(acts(lines, wanted).as_deref(), Ok(expected), "{lines:?} {wanted:?}");
        }
    }

    #[test]
    fn somebody_elses_mount_is_left_alone() {
        for lines in [&[FOREIGN][..], &[BOUND, FOREIGN], &[FOREIGN, BOUND]] {
            assert_eq!(acts(lines, Wanted::Bound), Err(Foreign), "{lines:?}");
        }
    }
}
