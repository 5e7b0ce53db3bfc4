//! Limits of `data/` that the file system itself holds, where it can. Which way is decided purely; the file systems'
//! own programs do it. Where none can, deployments and the hourly round compare, and warn.

use crate::model::Failure;
use crate::system::UserIds;
use crate::system::privileged::{self, Operation};
use crate::system::tools::{self, Tool};
use crate::system::volumes::{self, Volume};
use std::path::{Path, PathBuf};

/// Who sees to it that a limit holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keeper {
    /// btrfs: `data/` is a subvolume, and its group has a limit.
    Subvolume,
    /// xfs: `data/` is a project of its quotas.
    XfsProject { mounted: PathBuf },
    /// Nobody at the moment of writing: it is compared, and this is why.
    Compared(Why),
}

/// Why a file system does not hold a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    NotASubvolume,
    NoProgram(&'static str),
    /// xfs without the mount option, or a kernel without quotas for it.
    NoProjectQuota,
    OddPath,
    NoQuotas,
}

impl Keeper {
    pub fn words(&self) -> String {
        match self {
            Keeper::Subvolume => "held by btrfs".to_owned(),
            Keeper::XfsProject { .. } => "held by xfs".to_owned(),
            Keeper::Compared(why) => format!("compared before each deployment and hourly: {}", why.words()),
        }
    }
}

impl Why {
    fn words(self) -> String {
        match self {
            Why::NotASubvolume => "data/ is no subvolume of btrfs".to_owned(),
            Why::NoProgram(name) => format!("{name} is not installed"),
            Why::NoProjectQuota => "xfs is not mounted with prjquota".to_owned(),
            Why::OddPath => "xfs_quota does not take the path".to_owned(),
            Why::NoQuotas => "this file system has no limits for directories".to_owned(),
        }
    }
}

/// What is known of the place.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub volume: &'a Volume,
    pub data: &'a Path,
    pub is_subvolume: bool,
    /// Whether a program is installed.
    pub has: fn(&str) -> bool,
}

/// Decides. Pure.
pub fn keeper(known: &Known<'_>) -> Keeper {
    let mounted = &known.volume.mounted;
    match mounted.kind.as_str() {
        "btrfs" if !(known.has)("btrfs") => Keeper::Compared(Why::NoProgram("btrfs")),
        "btrfs" if known.is_subvolume => Keeper::Subvolume,
        "btrfs" => Keeper::Compared(Why::NotASubvolume),
        "xfs" if !mounted.options.split(',').any(|option| ["prjquota", "pquota"].contains(&option)) => {
            Keeper::Compared(Why::NoProjectQuota)
        }
        "xfs" if !(known.has)("xfs_quota") => Keeper::Compared(Why::NoProgram("xfs_quota")),
        "xfs" if !is_plain(known.data) || !is_plain(&mounted.point) => Keeper::Compared(Why::OddPath),
        "xfs" => Keeper::XfsProject { mounted: mounted.point.clone() },
        _ => Keeper::Compared(Why::NoQuotas),
    }
}

/// xfs_quota takes words of a line.
fn is_plain(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)))
}

/// Who would hold a limit of this directory.
pub fn find(data: &Path) -> Result<Keeper, Failure> {
    let volume = volumes::of(data)?;
    let is_subvolume = volumes::is_subvolume(&volume, data);
    Ok(keeper(&Known { volume: &volume, data, is_subvolume, has: |name| tools::find(name).is_some() }))
}

/// What a limit of a new project would be held by.
pub fn would_hold(projects: &Path) -> Result<String, Failure> {
    let volume = volumes::of(projects)?;
    let has = |name: &str| tools::find(name).is_some();
    Ok(keeper(&Known { volume: &volume, data: projects, is_subvolume: true, has }).words())
}

/// Sets a limit, or takes it away. `number` is nobody else's on this machine. Done again it does the same.
pub async fn apply(data: &Path, number: u32, bytes: Option<u64>) -> Result<Keeper, Failure> {
    let keeper = find(data)?;
    let path = data.to_owned();
    match &keeper {
        Keeper::Subvolume => {
            privileged::run(&Tool::CountSubvolumes { path: path.clone() }).await?;
            privileged::run(&Tool::LimitSubvolume { path, bytes }).await?;
        }
        Keeper::XfsProject { mounted } => {
            let mounted = mounted.clone();
            privileged::run(&Tool::MarkXfsProject { mounted: mounted.clone(), path, number }).await?;
            privileged::run(&Tool::LimitXfsProject { mounted, number, bytes }).await?;
        }
        Keeper::Compared(_) => {}
    }
    Ok(keeper)
}

/// Makes `data/` in a way that can be limited, when it is not there yet and its file system has one. Anything else is
/// left to whoever makes directories.
pub async fn prepare(data: &Path) -> Result<(), Failure> {
    if data.symlink_metadata().is_ok() || tools::find("btrfs").is_none() {
        return Ok(());
    }
    let Some(parent) = data.parent() else { return Ok(()) };
    let Some(place) = parent.ancestors().find(|place| place.is_dir()) else { return Ok(()) };
    if volumes::of(place)?.mounted.kind != "btrfs" {
        return Ok(());
    }
    let (path, owner) = (parent.to_owned(), UserIds::of(0));
    privileged::perform(&Operation::MakeDirectory { path, owner, mode: 0o711 })?;
    privileged::run(&Tool::MakeSubvolume { path: data.to_owned() }).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::mount_table::{Mounted, Shown};
    use crate::system::volumes::{Device, Space};

    fn kept(kind: &str, options: &str, (is_subvolume, has): (bool, fn(&str) -> bool), data: &str) -> Keeper {
        let mounted = Mounted {
            point: "/srv".into(),
            kind: kind.into(),
            source: "/dev/vda".into(),
            options: options.into(),
            shows: Shown::default(),
        };
        let volume = Volume { mounted, space: Space::default(), device: Device::Other };
        keeper(&Known { volume: &volume, data: Path::new(data), is_subvolume, has })
    }

    #[test]
    fn each_file_system_holds_a_limit_in_its_way_or_says_why_not() {
        type Has = fn(&str) -> bool;
        let (all, none): (Has, Has) = (|_| true, |_| false);
        let compared = |why| Keeper::Compared(why);
        assert_eq!(kept("btrfs", "rw", (true, all), "/srv/p/data"), Keeper::Subvolume);
        assert_eq!(kept("btrfs", "rw", (false, all), "/srv/p/data"), compared(Why::NotASubvolume));
        assert_eq!(kept("btrfs", "rw", (true, none), "/srv/p/data"), compared(Why::NoProgram("btrfs")));
        let xfs = Keeper::XfsProject { mounted: "/srv".into() };
        assert_eq!(kept("xfs", "rw,prjquota", (false, all), "/srv/p/data"), xfs);
        assert_eq!(kept("xfs", "rw,noquota", (false, all), "/srv/p/data"), compared(Why::NoProjectQuota));
        assert_eq!(kept("xfs", "prjquota", (false, none), "/srv/p/data"), compared(Why::NoProgram("xfs_quota")));
        assert_eq!(kept("xfs", "prjquota", (false, all), "/srv/p q/data"), compared(Why::OddPath));
        assert_eq!(kept("ext4", "rw", (false, all), "/srv/p/data"), compared(Why::NoQuotas));
        assert!(compared(Why::NoQuotas).words().contains("hourly"));
    }
}
