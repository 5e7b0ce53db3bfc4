//! The directory of a project's archives: what stands there, what it takes. Which of them
//! go is decided in `retention`; file names are made in `layouts`.

use super::{remembered, verify};
use crate::model::{Failure, ProjectName, ReleaseVersion};
use crate::trees;
use crate::trees::faults::machine;
use crate::trees::settle;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What stands beside an archive and goes with it.
pub const COMPANIONS: [&str; 3] = [verify::CHECKSUM, verify::SIGNATURE, verify::STATEMENT];
/// What stands beside an archive here and helps only here.
const OWN: [&str; 1] = [remembered::SUFFIX];
const ARCHIVE: &str = ".tar.zst";

/// One archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnShelf {
    pub version: ReleaseVersion,
    /// First seven digits of the commit.
    pub commit7: String,
    pub path: PathBuf,
    /// Size of the archive file.
    pub bytes: u64,
}

/// The archives of a project, oldest first; other files are not ours and not listed. No directory is an empty shelf.
pub fn list(releases: &Path, project: &ProjectName) -> Result<Vec<OnShelf>, Failure> {
    let during = |error| machine(format!("read {}", releases.display()), error);
    let mut found = Vec::new();
    for entry in entries(releases)? {
        let Some((version, commit7)) = entry.file_name().to_str().and_then(|name| parse_name(name, project)) else {
            continue;
        };
        let data = entry.metadata().map_err(during)?;
        if data.is_file() {
            found.push(OnShelf { version, commit7, path: entry.path(), bytes: data.len() });
        }
    }
    found.sort_by_key(|archive| archive.version);
    Ok(found)
}

/// Writes what stands beside an archive, whole or not at all. Not synced.
pub fn put_beside(archive: &Path, suffix: &str, text: &str) -> Result<(), Failure> {
    settle::write_whole(&beside(archive, suffix), text.as_bytes())
}

/// Where something stands beside an archive.
pub fn beside(archive: &Path, suffix: &str) -> PathBuf {
    settle::suffixed(archive, suffix)
}

/// Removes an archive and what stands beside it; the archive first, so that a name on the shelf is always complete.
pub fn remove(archive: &Path) -> Result<(), Failure> {
    let companions = COMPANIONS.iter().chain(&OWN).map(|suffix| settle::suffixed(archive, suffix));
    let all = std::iter::once(archive.to_owned()).chain(companions);
    for path in all {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(machine(format!("remove {}", path.display()), error));
            }
            _ => {}
        }
    }
    settle::sync_directory(archive.parent().unwrap_or(Path::new(".")))
}

/// What stands beside archives that are not there: a pack was interrupted, or a removal.
pub fn widowed(releases: &Path) -> Result<Vec<PathBuf>, Failure> {
    let names: Vec<PathBuf> = entries(releases)?.iter().map(fs::DirEntry::path).collect();
    let archive = |path: &Path| {
        let text = path.to_str()?;
        let archive = COMPANIONS.iter().chain(&OWN).find_map(|suffix| text.strip_suffix(suffix))?;
        archive.ends_with(ARCHIVE).then(|| PathBuf::from(archive))
    };
    Ok(names.iter().filter(|path| archive(path).is_some_and(|archive| !names.contains(&archive))).cloned().collect())
}

/// What an interrupted [`pack`](super::pack()) or [`unpack`](super::unpack()) left in a directory (`*.partial`), and what
/// was being written beside an archive (`.*.new`). While the project's lock is held, nobody is at it.
pub fn halves(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = entries(directory)?;
    found.retain(|entry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        name.ends_with(b".partial") || (name.starts_with(b".") && name.ends_with(b".new"))
    });
    Ok(found.iter().map(fs::DirEntry::path).collect())
}

/// Removes them. Only for the holder of the project's lock.
pub fn sweep(directory: &Path) -> Result<(), Failure> {
    halves(directory)?.iter().try_for_each(|half| trees::remove_tree(half))
}

fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>, Failure> {
    match fs::read_dir(directory).and_then(Iterator::collect) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| machine(format!("read {}", directory.display()), error)),
    }
}

/// `blog-v42-3f9c2e1.tar.zst` of `blog`.
pub fn parse_name(name: &str, project: &ProjectName) -> Option<(ReleaseVersion, String)> {
    let rest = name.strip_suffix(ARCHIVE)?.strip_prefix(project.as_str())?.strip_prefix('-')?;
    let (version, commit) = rest.split_once('-')?;
    let hex = commit.len() == 7 && commit.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let version = version.starts_with('v').then(|| ReleaseVersion::parse(version)).flatten()?;
    hex.then(|| (version, commit.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shelf_lists_its_own_archives_by_age_and_removes_them_whole() {
        let place = tempfile::tempdir().unwrap();
        let blog = ProjectName::parse("blog").unwrap();
        let names = [
            "blog-v10-3f9c2e1.tar.zst",
            "blog-v9-0000000.tar.zst",
            "blog-v9-0000000.tar.zst.sha256",
            "blog-v11-3f9c2e1.tar.zst.partial",
            "blog-2-v1-3f9c2e1.tar.zst",
            "blog-v0-3f9c2e1.tar.zst",
            "blog-7-3f9c2e1.tar.zst",
            "notes.txt",
            ".blog-v10-3f9c2e1.tar.zst.intoto.json.0123456789abcdef.new",
        ];
        names.iter().for_each(|name| fs::write(place.path().join(name), name).unwrap());
        let versions =
            || list(place.path(), &blog).unwrap().iter().map(|archive| archive.version.0).collect::<Vec<_>>();
        assert_eq!(versions(), [9, 10]);
        remove(&place.path().join("blog-v9-0000000.tar.zst")).unwrap();
        assert_eq!(versions(), [10]);
        assert!(!place.path().join("blog-v9-0000000.tar.zst.sha256").exists());
        let mut found = halves(place.path()).unwrap();
        found.sort();
        let half = [".blog-v10-3f9c2e1.tar.zst.intoto.json.0123456789abcdef.new", "blog-v11-3f9c2e1.tar.zst.partial"];
        assert_eq!(found, half.map(|name| place.path().join(name)));
        sweep(place.path()).unwrap();
        assert_eq!(halves(place.path()).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(list(&place.path().join("absent"), &blog), Ok(vec![]));
    }

    #[test]
    fn what_stands_beside_an_archive_that_is_gone_is_widowed() {
        let place = tempfile::tempdir().unwrap();
        for name in
            ["blog-v9-0000000.tar.zst", "blog-v9-0000000.tar.zst.sha256", "blog-v8-0000000.tar.zst.sig", "x.sig"]
        {
            fs::write(place.path().join(name), "").unwrap();
        }
        assert_eq!(widowed(place.path()).unwrap(), [place.path().join("blog-v8-0000000.tar.zst.sig")]);
    }
}
