//! What four files of a release travel in when they travel as one stream: a plain tar, read by an allow-list of our own
//! before anything else looks at it. Pure. Plain `tar` reads what is written here, and what plain `tar` writes of the four
//! files is read, in whatever order.

use super::header::{BLOCK, padding};
use crate::model::{CommitId, Failure, ProjectName, ReleasePart, ReleaseVersion};
use crate::trees::faults::refused;
use crate::trees::names;

/// Bytes of one file that a carton can say; what is larger travels by `release fetch`.
pub const MOST: u64 = (8 << 30) - 1;
/// Zeros at the end of a tar.
pub const END: usize = 2 * BLOCK;
/// What stands after the end mark of tars that were written in larger blocks: zeros, and not more of them than this.
pub const MOST_PADDING: usize = 20 * BLOCK;
const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const PREFIX: std::ops::Range<usize> = 345..500;

/// The next thing in a carton.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// So many bytes of this part follow, then zeros up to a whole block.
    Part { part: ReleasePart, size: u64 },
    /// The first of the two blocks that end a tar.
    End,
}

/// Takes the headers of one carton, and refuses what is not exactly the four files of one release.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Carton {
    archive: Option<String>,
    seen: Vec<ReleasePart>,
}

impl Carton {
    /// Judges one header. Errors are `verify-failed`.
    pub fn take(&mut self, block: &[u8; BLOCK], project: &ProjectName) -> Result<Next, Failure> {
        if block.iter().all(|byte| *byte == 0) {
            return match ReleasePart::ALL.into_iter().find(|part| !self.seen.contains(part)) {
                None => Ok(Next::End),
                Some(missing) => Err(refused(format!("carton: no {} in it", missing.as_str()))),
            };
        }
        let (name, size) = read(block)?;
        let (archive, part) = split(&name, project).ok_or_else(|| {
            refused(format!("carton: {} is no file of a release of {project}", names::escape(name.as_bytes())))
        })?;
        if self.archive.get_or_insert_with(|| archive.to_owned()) != archive {
            return Err(refused("carton: files of more than one release"));
        }
        if self.seen.contains(&part) {
            return Err(refused(format!("carton: its {} comes twice", part.as_str())));
        }
        if size > part.most() {
            let what = format!("carton: its {} has {size} bytes, more than {}", part.as_str(), part.most());
            return Err(refused(what));
        }
        self.seen.push(part);
        Ok(Next::Part { part, size })
    }

    /// The name of the archive, once a file of it has come.
    pub fn archive(&self) -> Option<&str> {
        self.archive.as_deref()
    }
}

/// The header of one file of a carton.
pub fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    // A name of ours always fits; one that does not would be refused when it is read.
    let _ = header.set_path(name);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    header.set_cksum();
    *header.as_bytes()
}

/// Zero bytes after a file of this size.
pub fn filling(size: u64) -> usize {
    padding(size)
}

/// The version and the abbreviated commit that the name of an archive tells.
pub fn parse_name(name: &str, project: &ProjectName) -> Option<(ReleaseVersion, String)> {
    super::shelf::parse_name(name, project)
}

/// Whether the name is that of this release.
pub fn is_name_of(name: &str, project: &ProjectName, (version, commit): (ReleaseVersion, &CommitId)) -> bool {
    parse_name(name, project).is_some_and(|found| found == (version, commit.short().to_owned()))
}

/// The name of the archive and which of its files this is.
fn split<'a>(name: &'a str, project: &ProjectName) -> Option<(&'a str, ReleasePart)> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let longest_first = [ReleasePart::Provenance, ReleasePart::Sha256, ReleasePart::Signature, ReleasePart::Archive];
    longest_first.into_iter().find_map(|part| {
        let archive = name.strip_suffix(part.suffix())?;
        parse_name(archive, project).map(|_| (archive, part))
    })
}

/// Name and size of a regular file; nothing else is read.
fn read(block: &[u8; BLOCK]) -> Result<(String, u64), Failure> {
    let field = |range: std::ops::Range<usize>| block.get(range).unwrap_or_default();
    let sum: u32 =
        block.iter().enumerate().map(|(at, byte)| if CHECKSUM.contains(&at) { 32 } else { u32::from(*byte) }).sum();
    if octal(field(CHECKSUM)) != Some(u64::from(sum)) {
        return Err(refused("carton: not a tar"));
    }
    let kind = block.get(KIND).copied().unwrap_or_default();
    if !matches!(kind, b'0' | 0) || field(LINK).iter().chain(field(PREFIX)).any(|byte| *byte != 0) {
        return Err(refused("carton: something else than plain files with short names"));
    }
    let size = octal(field(SIZE)).ok_or_else(|| refused("carton: a size that is no number"))?;
    octal(field(MODE)).ok_or_else(|| refused("carton: a mode that is no number"))?;
    let name = field(NAME);
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let (text, rest) = name.split_at_checked(end).unwrap_or_default();
    if rest.iter().any(|byte| *byte != 0) {
        return Err(refused("carton: bytes after the end of a name"));
    }
    let name = names::check_path(text.strip_prefix(b"./").unwrap_or(text));
    Ok((name.map_err(|why| refused(format!("carton: {why}")))?.to_owned(), size))
}

/// Octal digits with blanks or zeros around them.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    let plain = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    plain.then(|| u64::from_str_radix(text, 8).ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::process::Command;

    const ARCHIVE: &str = "blog-v42-3f9c2e1.tar.zst";

    fn blog() -> ProjectName {
        ProjectName::parse("blog").unwrap()
    }

    fn all() -> Vec<[u8; BLOCK]> {
        ReleasePart::ALL.iter().map(|part| header(&format!("{ARCHIVE}{}", part.suffix()), 7)).collect()
    }

    fn judge(blocks: &[[u8; BLOCK]]) -> Result<Vec<Next>, Failure> {
        let mut carton = Carton::default();
        blocks.iter().map(|block| carton.take(block, &blog())).collect()
    }

    #[test]
    fn four_files_of_one_release_are_a_carton() {
        let mut blocks = all();
        blocks.push([0; BLOCK]);
        let seen = judge(&blocks).unwrap();
        assert_eq!(seen.len(), 5);
        assert_eq!(seen[3], Next::Part { part: ReleasePart::Archive, size: 7 });
        assert_eq!(seen[4], Next::End);
    }

    #[test]
    fn what_plain_tar_writes_of_four_files_is_read() {
        let place = tempfile::tempdir().unwrap();
        for part in ReleasePart::ALL {
            std::fs::write(place.path().join(format!("{ARCHIVE}{}", part.suffix())), "content").unwrap();
        }
        for words in [["-cf-", "."].as_slice(), &["--format=ustar", "-cf-", "."]] {
            let mut command = Command::new("tar");
            command.args(["-C".as_ref(), place.path().as_os_str()]).args(&words[..words.len() - 1]);
            for part in ReleasePart::ALL {
                command.arg(format!("./{ARCHIVE}{}", part.suffix()));
            }
            let bytes = command.output().unwrap().stdout;
            let mut carton = Carton::default();
            for at in (0..).step_by(2 * BLOCK) {
                let block: [u8; BLOCK] = bytes[at..at + BLOCK].try_into().unwrap();
                if carton.take(&block, &blog()).unwrap() == Next::End {
                    break;
                }
            }
            assert_eq!(carton.archive(), Some(ARCHIVE));
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_it_is() {
        let changed = |change: fn(&mut tar::Header)| {
            let mut header = tar::Header::from_byte_slice(&header(ARCHIVE, 7)).clone();
            change(&mut header);
            header.set_cksum();
            *header.as_bytes()
        };
        let named = |name: &str| header(name, 7);
        let cases: Vec<(Vec<[u8; BLOCK]>, &str)> = vec![
            (vec![[1; BLOCK]], "not a tar"),
            (vec![[0; BLOCK]], "no sha256 in it"),
            (vec![all()[0], [0; BLOCK]], "no sig in it"),
            (vec![all()[0], all()[0]], "its sha256 comes twice"),
            (vec![all()[0], named("blog-v43-3f9c2e1.tar.zst")], "more than one release"),
            (vec![named("wiki-v42-3f9c2e1.tar.zst")], "no file of a release of blog"),
            (vec![named("blog-v42-3f9c2e1.tar.gz")], "no file of a release of blog"),
            (vec![named("x/blog-v42-3f9c2e1.tar.zst")], "no file of a release of blog"),
            (vec![header(&format!("{ARCHIVE}.sig"), 1 << 20)], "its sig has 1048576 bytes, more than 65536"),
            // As tar writes what octal digits cannot say.
            (vec![header(ARCHIVE, MOST + 1)], "a size that is no number"),
            (vec![changed(|header| header.set_entry_type(tar::EntryType::Symlink))], "plain files"),
            (vec![changed(|header| header.set_entry_type(tar::EntryType::XHeader))], "plain files"),
            (vec![changed(|header| header.set_entry_type(tar::EntryType::GNULongName))], "plain files"),
            (vec![changed(|header| header.set_entry_type(tar::EntryType::GNUSparse))], "plain files"),
            (vec![changed(|header| header.set_link_name("x").unwrap())], "plain files"),
            (vec![changed(|header| header.as_mut_bytes()[345] = b'x')], "plain files"),
            (vec![changed(|header| header.as_mut_bytes()[124] = 0x80)], "a size that is no number"),
            (vec![changed(|header| header.as_mut_bytes()[60] = b'x')], "after the end of a name"),
            (vec![changed(|header| header.as_mut_bytes()[..3].copy_from_slice(b"../"))], "part"),
        ];
        for (blocks, says) in cases {
            let failure = judge(&blocks).unwrap_err();
            assert_eq!(failure.code, crate::model::Code::VerifyFailed);
            assert!(failure.what.contains(says), "{} does not say {says}", failure.what);
        }
    }
}
