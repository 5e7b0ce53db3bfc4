//! Packing with the help of an earlier archive: the same bytes as without, whatever changed, and whatever became of the
//! earlier one.

use super::super::remembered::SUFFIX;
use super::super::{Effort, Packed, pack};
use super::base;
use crate::trees::settle;
use std::fs;
use std::path::{Path, PathBuf};

/// A tree of several frames, one of its files larger than a frame.
struct Scene {
    place: tempfile::TempDir,
    tree: PathBuf,
    before: PathBuf,
}

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn scene() -> Scene {
    let place = tempfile::tempdir().unwrap();
    let (tree, before) = (place.path().join("tree"), place.path().join("before"));
    for number in 0..300u32 {
        let path = tree.join(format!("d{}/f{number}", number % 7));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, noise(number, 40_000)).unwrap();
    }
    fs::write(tree.join("d3/large"), noise(7, 9 << 20)).unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    pack(&tree, &base(), &before, Effort::with(2)).unwrap();
    Scene { place, tree, before }
}

impl Scene {
    /// The tree packed with and without help.
    fn both(&self, round: &str) -> (Packed, Packed) {
        let pack = |name: &str, before: Option<&Path>| {
            let out = self.place.path().join(format!("{name}-{round}"));
            pack(&self.tree, &base(), &out, Effort { threads: 2, before }).unwrap()
        };
        (pack("helped", Some(&self.before)), pack("alone", None))
    }
}

#[test]
fn with_an_earlier_archive_the_bytes_are_those_of_a_full_one() {
    let scene = scene();
    let same = |round: &str| {
        let (helped, alone) = scene.both(round);
        assert_eq!(helped, alone, "{round}");
        alone.archive_sha256
    };
    let mut seen = vec![same("nothing")];
    let mut changes = |round: &str| {
        let sum = same(round);
        assert!(!seen.contains(&sum), "{round} changed nothing");
        seen.push(sum);
    };
    fs::write(scene.tree.join("d1/f8"), noise(9_999, 40_000)).unwrap();
    changes("other content of the same size");
    fs::write(scene.tree.join("d1/f8"), noise(9_998, 4)).unwrap();
    changes("shorter");
    fs::remove_file(scene.tree.join("d0/f0")).unwrap();
    changes("one less at the front");
    fs::rename(scene.tree.join("d5/f5"), scene.tree.join("d5/f6")).unwrap();
    changes("another name");
    fs::create_dir(scene.tree.join("d2/new")).unwrap();
    changes("one directory more");
    fs::write(scene.tree.join("d3/large"), noise(8, 9 << 20)).unwrap();
    changes("a large one");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(scene.tree.join("d4/f4"), fs::Permissions::from_mode(0o755)).unwrap();
    changes("an x bit");
}

#[test]
fn the_help_is_used() {
    let scene = scene();
    // What is known says that nothing changed; a frame with other bytes would be found out by its sum.
    let notes = settle::suffixed(&scene.before, SUFFIX);
    let known = super::super::remembered::Remembered::of(&scene.before).unwrap();
    let file = fs::metadata(scene.tree.join("d1/f8")).unwrap();
    assert!(fs::metadata(&notes).unwrap().len() > 300 * 64 && file.len() == 40_000);
    let stat = nix::sys::stat::stat(&scene.tree.join("d1/f8")).unwrap();
    assert!(known.file(&super::super::Identity::of_stat(&stat)).is_some());
    fs::write(scene.tree.join("d1/f8"), noise(1, 40_000)).unwrap();
    let stat = nix::sys::stat::stat(&scene.tree.join("d1/f8")).unwrap();
    assert!(
        known.file(&super::super::Identity::of_stat(&stat)).is_none(),
        "known-bad: a file that changed is not known"
    );
}

#[test]
fn an_earlier_archive_that_rotted_is_not_copied_from() {
    let scene = scene();
    let mut bytes = fs::read(&scene.before).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&scene.before, &bytes).unwrap();
    let (helped, alone) = scene.both("rotten");
    assert_eq!(helped, alone);
    fs::remove_file(&scene.before).unwrap();
    let (helped, alone) = scene.both("gone");
    assert_eq!(helped, alone);
}
