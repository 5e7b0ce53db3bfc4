//! The list of what a backup holds, as text and back. Pure. One line per entry, after a head:
//!
//! ```text
//! commis-backup 2
//! x <pattern>                                                              was left out
//! d <mode> <uid> <gid> <mtime> <path>                                      a directory
//! f <mode> <uid> <gid> <mtime> <size> <sum> <source> <path>                a file
//! h <path> <other path>                                                    one more name of a file
//! l <mode> <uid> <gid> <mtime> <path> <target>                             a symbolic link
//! a <name> <value>                                                         an extended attribute of the entry before
//! ```
//! Times are seconds and nanoseconds since 1970, modes octal. `source` is `dev:ino:ctime` of the file that was copied, by
//! which the next backup knows that it did not change; `-` when it may have changed unseen. `sum` is the XXH3 of 128 bits, in
//! hex; it shows damage, not malice, since backups are root's alone. That of a file with holes is `-`, one that is still to be
//! taken `?`. In paths and values, blanks, backslashes and what is not ASCII are `\ooo`. The first format knew no attributes.

use crate::model::{Code, Failure};
use crate::system::mount_table::unescape;
use std::collections::BTreeMap;
use std::fmt::Write;

const HEAD: &str = "commis-backup 2";
const FIRST: &str = "commis-backup 1";

/// What a backup holds, in the order of a tour.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// Patterns of what was left out.
    pub excluded: Vec<String>,
    pub entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub path: Vec<u8>,
    pub item: Item,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Directory(Traits),
    File(Traits, Content),
    /// One more name of the file at this path.
    Name(Vec<u8>),
    Link(Traits, Vec<u8>),
}

/// What a copy has of its original besides content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traits {
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: Moment,
    pub attributes: Attributes,
}

/// Extended attributes by their names, access control lists among them.
pub type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Moment(pub i64, pub i64);

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    pub size: u64,
    pub sum: Sum,
    pub source: Option<Source>,
}

/// By what damage to a copy is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    Of(u128),
    /// None is taken of a file with holes.
    Holes,
    /// It shares the blocks of its original, and nobody has read them yet.
    Later,
}

/// The file that was copied, as it then was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Source {
    pub device: u64,
    pub inode: u64,
    pub changed: Moment,
}

impl Inventory {
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for pattern in &self.excluded {
            let _ = writeln!(text, "x {}", escape(pattern.as_bytes()));
        }
        for entry in &self.entries {
            let path = escape(&entry.path);
            let _ = match &entry.item {
                Item::Directory(traits) => writeln!(text, "d {} {path}", traits.words()),
                Item::File(traits, content) => writeln!(text, "f {} {} {path}", traits.words(), content.words()),
                Item::Name(of) => writeln!(text, "h {path} {}", escape(of)),
                Item::Link(traits, target) => writeln!(text, "l {} {path} {}", traits.words(), escape(target)),
            };
            for (name, value) in entry.item.traits().iter().flat_map(|traits| &traits.attributes) {
                let _ = writeln!(text, "a {} {}", escape(name), escape(value));
            }
        }
        text
    }

    /// Whether sums are still to be taken.
    pub fn owes_sums(&self) -> bool {
        let owes = |item: &Item| matches!(item, Item::File(_, content) if content.sum == Sum::Later);
        self.entries.iter().any(|entry| owes(&entry.item))
    }

    /// # Errors
    /// `VerifyFailed` naming the line.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut lines = text.lines();
        if !matches!(lines.next(), Some(HEAD | FIRST)) {
            return Err(damaged(1));
        }
        let mut inventory = Self::default();
        for (number, line) in (2..).zip(lines) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["x", pattern] => inventory.excluded.push(String::from_utf8_lossy(&plain(pattern)).into_owned()),
                ["a", name, value] => {
                    let attributes = inventory.entries.last_mut().and_then(|entry| entry.item.attributes());
                    let attributes = attributes.ok_or_else(|| damaged(number))?;
                    attributes.insert(plain(name), plain(value));
                }
                _ => inventory.entries.push(entry(&words).ok_or_else(|| damaged(number))?),
            }
        }
        Ok(inventory)
    }
}

impl Item {
    /// One more name has those of its first.
    pub fn traits(&self) -> Option<&Traits> {
        match self {
            Item::Directory(traits) | Item::File(traits, _) | Item::Link(traits, _) => Some(traits),
            Item::Name(_) => None,
        }
    }

    fn attributes(&mut self) -> Option<&mut Attributes> {
        match self {
            Item::Directory(traits) | Item::File(traits, _) => Some(&mut traits.attributes),
            Item::Link(..) | Item::Name(_) => None,
        }
    }
}

impl Traits {
    fn words(&self) -> String {
        format!("{:o} {} {} {}", self.mode, self.uid, self.gid, self.modified.words())
    }

    fn parse(words: &[&str]) -> Option<Self> {
        let [mode, uid, gid, modified] = words else { return None };
        Some(Self {
            mode: u32::from_str_radix(mode, 8).ok()?,
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            modified: Moment::parse(modified)?,
            attributes: Attributes::new(),
        })
    }
}

impl Moment {
    fn words(self) -> String {
        format!("{}.{}", self.0, self.1)
    }

    fn parse(text: &str) -> Option<Self> {
        let (seconds, nanoseconds) = text.split_once('.')?;
        Some(Self(seconds.parse().ok()?, nanoseconds.parse().ok()?))
    }
}

impl Content {
    fn words(&self) -> String {
        let source = |source: Source| format!("{}:{}:{}", source.device, source.inode, source.changed.words());
        format!("{} {} {}", self.size, self.sum.word(), self.source.map_or_else(|| "-".to_owned(), source))
    }

    fn parse(words: &[&str]) -> Option<Self> {
        let [size, sum, source] = words else { return None };
        let source = if *source == "-" { None } else { Some(Source::parse(source)?) };
        Some(Self { size: size.parse().ok()?, sum: Sum::parse(sum)?, source })
    }
}

impl Sum {
    fn word(self) -> String {
        match self {
            Sum::Of(sum) => format!("{sum:032x}"),
            Sum::Holes => "-".to_owned(),
            Sum::Later => "?".to_owned(),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        match word {
            "-" => Some(Sum::Holes),
            "?" => Some(Sum::Later),
            hex => u128::from_str_radix(hex, 16).ok().map(Sum::Of),
        }
    }
}

impl Source {
    fn parse(text: &str) -> Option<Self> {
        let (device, rest) = text.split_once(':')?;
        let (inode, changed) = rest.split_once(':')?;
        Some(Self { device: device.parse().ok()?, inode: inode.parse().ok()?, changed: Moment::parse(changed)? })
    }
}

fn entry(words: &[&str]) -> Option<Entry> {
    let (kind, rest) = words.split_first()?;
    let (path, item) = match (*kind, rest) {
        ("d", [traits @ .., path]) => (path, Item::Directory(Traits::parse(traits)?)),
        ("f", [mode, uid, gid, modified, content @ .., path]) => {
            (path, Item::File(Traits::parse(&[mode, uid, gid, modified])?, Content::parse(content)?))
        }
        ("h", [path, of]) => (path, Item::Name(plain(of))),
        ("l", [traits @ .., path, target]) => (path, Item::Link(Traits::parse(traits)?, plain(target))),
        _ => return None,
    };
    Some(Entry { path: plain(path), item })
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            0x21..=0x7e if *byte != b'\\' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\{byte:03o}");
            }
        }
    }
    text
}

fn plain(text: &str) -> Vec<u8> {
    unescape(text.as_bytes())
}

fn damaged(line: usize) -> Failure {
    Failure::new(Code::VerifyFailed, format!("the list of the backup is damaged in line {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn traits(attribute: &[u8]) -> Traits {
        let attributes = [(b"user.note".to_vec(), attribute.to_vec()), (b"user.empty".to_vec(), Vec::new())].into();
        Traits { mode: 0o4755, uid: 1, gid: 2, modified: Moment(-3, 999_999_999), attributes }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(path in proptest::collection::vec(1u8..=255, 1..20), target in proptest::collection::vec(1u8..=255, 0..20)) {
            let source = Some(Source { device: 7, inode: 8, changed: Moment(9, 10) });
            let entries = [
                Item::Directory(traits(&target)),
                Item::File(traits(&path), Content { size: 5, sum: Sum::Of(u128::MAX / 3), source }),
                Item::File(traits(&[]), Content { size: 5, sum: Sum::Holes, source: None }),
                Item::File(traits(&[0]), Content { size: 5, sum: Sum::Later, source: None }),
                Item::Name(target.clone()),
                Item::Link(Traits { attributes: Attributes::new(), ..traits(&[]) }, target),
            ];
            let entries = entries.into_iter().map(|item| Entry { path: path.clone(), item }).collect();
            let inventory = Inventory { excluded: vec!["a b/**".into()], entries };
            prop_assert_eq!(Inventory::parse(&inventory.to_text()).unwrap(), inventory);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(commis-backup [12]\n)?([adfhlx] |[0-9a-f.:?\\\\ \n-]){0,40}") {
            let _ = Inventory::parse(&text);
        }
    }
}
