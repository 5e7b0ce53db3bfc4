//! The kernel's table of mounts: which there are at or below a place, and which one a place lies on. Reading is here;
//! mounting is in [`super::mounts`], unmounting in [`super::privileged`].

use super::files::FileError;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const TABLE: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mounted {
    pub point: PathBuf,
    /// `ext4`, `btrfs`, `tmpfs`.
    pub kind: String,
    /// `/dev/loop3`, `tmpfs`.
    pub source: PathBuf,
    /// Of the file system, with commas: `rw,prjquota`.
    pub options: String,
    pub shows: Shown,
}

/// A directory, whatever its names are: a bind mount is known by what it shows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Shown {
    /// `254:0`
    pub file_system: String,
    /// Path within the file system.
    pub path: PathBuf,
}

impl Shown {
    /// Whether this is `other` or a directory somewhere below it.
    pub fn is_within(&self, other: &Shown) -> bool {
        self.file_system == other.file_system && self.path.starts_with(&other.path)
    }
}

/// The mounts of this process's namespace, in the order in which they were made.
pub fn read() -> Result<Vec<Mounted>, FileError> {
    let text = std::fs::read(TABLE).map_err(|error| FileError::new("read", Path::new(TABLE), error))?;
    Ok(parse(&text))
}

/// Mount points at or below a path, which must be absolute and free of links.
pub fn at_or_below(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let points = read()?.into_iter().map(|mounted| mounted.point);
    Ok(points.filter(|point| point.starts_with(path)).collect())
}

/// The mount that a path lies on: of the longest points above it the last, which covers the others.
pub fn holding<'a>(table: &'a [Mounted], path: &Path) -> Option<&'a Mounted> {
    let above = table.iter().filter(|mounted| path.starts_with(&mounted.point));
    above.max_by_key(|mounted| mounted.point.components().count())
}

/// What is mounted on a point, from the bottom to the top.
pub fn layers<'a>(table: &'a [Mounted], point: &Path) -> Vec<&'a Shown> {
    table.iter().filter(|mounted| mounted.point == point).map(|mounted| &mounted.shows).collect()
}

/// What a path (absolute, free of links) shows by way of the mounts above it; mounts on the path itself are not looked at.
pub fn below_mounts(table: &[Mounted], path: &Path) -> Option<Shown> {
    let above = table.iter().filter(|mounted| mounted.point != path && path.starts_with(&mounted.point));
    // The deepest point counts, and on it the mount on top.
    let mounted = above.max_by_key(|mounted| mounted.point.components().count())?;
    let inside = path.strip_prefix(&mounted.point).ok()?;
    Some(Shown { file_system: mounted.shows.file_system.clone(), path: mounted.shows.path.join(inside) })
}

/// Understands the text of `/proc/self/mountinfo`; lines that are none are left out.
pub fn parse(text: &[u8]) -> Vec<Mounted> {
    text.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue`.
fn line(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let path = |field: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(unescape(field)));
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    Some(Mounted {
        point: path(fields.get(4)?),
        kind: text(fields.get(dash + 1)?),
        source: path(fields.get(dash + 2)?),
        options: text(fields.get(dash + 3)?),
        shows: Shown { file_system: text(fields.get(2)?), path: path(fields.get(3)?) },
    })
}

/// Space, tab, newline and backslash stand as `\ooo`.
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal =
            after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match octal {
            Some(digits) => {
                plain.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
        40 22 254:0 /data /srv/p/run/my\\040data rw shared:1 - ext4 /dev/vda rw\n\
        41 22 254:0 /data /srv/p/run2 rw - ext4 /dev/vda rw\n\
        no mount\n\
        42 22 7:3 / /srv/p/data rw - xfs /dev/loop3 rw,prjquota\n\
        43 22 0:5 / /srv/p/data rw - tmpfs tmpfs rw\n";

    #[test]
    fn lines_are_understood_and_others_left_out() {
        let table = parse(TEXT);
        assert_eq!(table.len(), 5);
        assert_eq!(table[1].point, Path::new("/srv/p/run/my data"));
        let xfs = &table[3];
        assert_eq!((xfs.kind.as_str(), xfs.source.as_path()), ("xfs", Path::new("/dev/loop3")));
        assert_eq!(xfs.options, "rw,prjquota");
    }

    #[test]
    fn a_place_lies_on_the_nearest_mount_above_it_and_the_latest_of_these() {
        let table = parse(TEXT);
        let kind = |path: &str| holding(&table, Path::new(path)).map(|mounted| mounted.kind.as_str());
        assert_eq!(kind("/srv/p/data/x"), Some("tmpfs"));
        assert_eq!(kind("/srv/p/database"), Some("ext4"));
        assert_eq!(kind("/srv/p/run2"), Some("ext4"));
        assert_eq!(holding(&[], Path::new("/")), None);
    }

    #[test]
    fn a_bind_is_known_by_what_it_shows() {
        let table = parse(
            b"22 1 254:0 / / rw - ext4 a rw\n30 22 254:1 /vol /srv rw - ext4 b rw\n\
            31 30 254:1 /vol/p/run /srv/p/project rw - ext4 b rw\n32 31 0:7 / /srv/p/project rw - tmpfs c rw\n",
        );
        let run = below_mounts(&table, Path::new("/srv/p/run")).unwrap();
        assert_eq!((run.file_system.as_str(), run.path.as_path()), ("254:1", Path::new("/vol/p/run")));
        let layers = layers(&table, Path::new("/srv/p/project"));
        assert_eq!(layers.len(), 2);
        assert_eq!(layers[0], &run);
        let root = below_mounts(&table, Path::new("/srv/p")).unwrap();
        assert!(layers[0].is_within(&root) && !layers[1].is_within(&root));
        assert_eq!(below_mounts(&table, Path::new("/srv/p/project")).unwrap().path, Path::new("/vol/p/project"));
    }
}
