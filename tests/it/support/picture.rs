//! What a directory looks like, to the last byte, owner and second: to compare before with after.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// One line for each entry below a directory, in order: name, kind, mode, owner, links, time of the last change, bytes.
///
/// Times of directories are left out: who puts a file back changes them.
pub fn picture(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    describe(root, root, &mut lines);
    lines.sort();
    lines
}

/// The same without the times of files, for a tree that is unpacked again.
pub fn timeless(root: &Path) -> Vec<String> {
    let is_time = |word: &&str| word.split_once('.').is_some_and(|(_, rest)| rest.len() == 9);
    let line = |line: String| line.split(' ').filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ");
    picture(root).into_iter().map(line).collect()
}

fn describe(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let data = std::fs::symlink_metadata(&path).expect("an entry");
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let kind = data.file_type();
        let content = if kind.is_dir() {
            describe(root, &path, lines);
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("-> {}", std::fs::read_link(&path).unwrap_or_default().display())
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            format!("{}.{:09} {} {}", data.mtime(), data.mtime_nsec(), data.nlink(), short(&bytes))
        } else {
            format!("special {}", kind.is_fifo())
        };
        lines.push(format!("{name} {:o} {}:{} {content}", data.mode() & 0o7777, data.uid(), data.gid()));
    }
}

/// Small files as they are, so that a difference can be read; of others length and hash.
fn short(bytes: &[u8]) -> String {
    if bytes.len() <= 400 {
        return bytes.escape_ascii().to_string();
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{} bytes, {:016x}", bytes.len(), hasher.finish())
}
