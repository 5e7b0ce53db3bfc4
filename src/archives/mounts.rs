//! Reading the mount table. Pure: the text comes in, mount points come out. Mounting is in `system`.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Mount points at or below a path (which must be absolute and free of links), from the text of `/proc/self/mountinfo`.
pub fn at_or_below(mountinfo: &[u8], path: &Path) -> Vec<PathBuf> {
    let points = mountinfo.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points
        .map(|field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field))))
        .filter(|point| point.starts_with(path))
        .collect()
}

/// Space, tab, newline and backslash stand as `\ooo`.
pub(super) fn unescape(field: &[u8]) -> Vec<u8> {
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

    #[test]
    fn mounts_with_odd_names_are_seen_and_neighbours_are_not() {
        let table = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            40 22 254:0 /data /srv/p/run/my\\040data rw shared:1 - ext4 /dev/vda rw\n\
            41 22 254:0 /data /srv/p/run2 rw - ext4 /dev/vda rw\n\
            42 22 0:5 / /srv/p/run rw - tmpfs tmpfs rw\n";
        let below = |path: &str| at_or_below(table, Path::new(path));
        assert_eq!(below("/srv/p/run"), [Path::new("/srv/p/run/my data"), Path::new("/srv/p/run")]);
        assert_eq!(below("/srv/p/run/my data"), [Path::new("/srv/p/run/my data")]);
        assert_eq!(below("/srv/p/ru"), Vec::<PathBuf>::new());
        assert_eq!(below("/").len(), 4);
    }
}
