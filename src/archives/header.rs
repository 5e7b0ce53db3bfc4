//! The one spelling of tar that a release has: POSIX headers, a PAX header before names that are too long for one, owner
//! and time zero. Pure. Reading spells the entry again and compares, so no header has two meanings: whatever is not
//! byte for byte what we would have written refuses the archive.

use super::listing::Exec;
use crate::model::Failure;
use crate::trees::faults::refused;
use crate::trees::names::{self, MAX_PATH, MAX_TARGET};
use tar::{EntryType, Header};

/// Size of headers and unit of padding.
pub const BLOCK: usize = 512;
/// Longest name that fits into a header.
const SHORT: usize = 100;
/// Room for both records of a PAX header: refused before anything is allocated for more.
const MAX_PAX: u64 = (MAX_PATH + MAX_TARGET + 200) as u64;

/// What an entry is. The content of a file follows its header, padded to blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Directory,
    File { exec: Exec, size: u64 },
    Link { target: String },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// From the top of the archive: `tree/app.py`.
    pub path: String,
    pub item: Item,
}

/// Fills its argument with the next bytes of the archive.
pub type Pull<'a> = dyn FnMut(&mut [u8]) -> Result<(), Failure> + 'a;

/// Appends the headers of one entry.
pub fn spell(entry: &Entry, out: &mut Vec<u8>) {
    let target = match &entry.item {
        Item::Link { target } => target.as_str(),
        Item::Directory | Item::File { .. } => "",
    };
    let mut pax = String::new();
    for (key, value) in [("path", entry.path.as_str()), ("linkpath", target)] {
        if value.len() > SHORT {
            pax.push_str(&record(key, value));
        }
    }
    if !pax.is_empty() {
        out.extend_from_slice(&block(EntryType::XHeader, "pax", "", (0o644, pax.len() as u64)));
        out.extend_from_slice(pax.as_bytes());
        out.resize(out.len() + padding(pax.len() as u64), 0);
    }
    let (kind, mode, size) = match &entry.item {
        Item::Directory => (EntryType::Directory, 0o755, 0),
        Item::File { exec, size } => (EntryType::Regular, exec.mode(), *size),
        Item::Link { .. } => (EntryType::Symlink, 0o777, 0),
    };
    out.extend_from_slice(&block(kind, &entry.path, target, (mode, size)));
}

/// Zero bytes after a content of this size.
pub fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// The next entry, or `None` at the end mark (two blocks of zeros). The caller takes the content.
pub fn read(pull: &mut Pull<'_>) -> Result<Option<Entry>, Failure> {
    let mut seen = Vec::with_capacity(3 * BLOCK);
    let mut header = next_block(pull, &mut seen)?;
    if header.as_bytes().iter().all(|byte| *byte == 0) {
        let second = next_block(pull, &mut seen)?;
        let zeros = second.as_bytes().iter().all(|byte| *byte == 0);
        return if zeros { Ok(None) } else { Err(refused("the end mark is followed by something else")) };
    }
    check_kind(&header)?;
    let mut pax = Vec::new();
    if header.entry_type() == EntryType::XHeader {
        pax = read_pax(&header, pull, &mut seen)?;
        header = next_block(pull, &mut seen)?;
        check_kind(&header)?;
    }
    let entry = meaning(&header, &pax)?;
    let mut ours = Vec::with_capacity(seen.len());
    spell(&entry, &mut ours);
    if ours != seen {
        return Err(refused(format!(
            "the header of {} is not as commis writes it",
            names::escape(entry.path.as_bytes())
        )));
    }
    Ok(Some(entry))
}

fn next_block(pull: &mut Pull<'_>, seen: &mut Vec<u8>) -> Result<Header, Failure> {
    let mut header = Header::new_old();
    pull(header.as_mut_bytes())?;
    seen.extend_from_slice(header.as_bytes());
    Ok(header)
}

fn check_kind(header: &Header) -> Result<(), Failure> {
    let mut copy = header.clone();
    copy.set_cksum();
    if copy.cksum().ok() != header.cksum().ok() {
        return Err(refused("a header has a wrong checksum"));
    }
    let what = match header.entry_type() {
        EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::XHeader => return Ok(()),
        EntryType::Link => "a hard link",
        EntryType::Char => "a character device",
        EntryType::Block => "a block device",
        EntryType::Fifo => "a named pipe",
        EntryType::GNUSparse => "a sparse file",
        EntryType::GNULongName | EntryType::GNULongLink => "a GNU long name",
        EntryType::XGlobalHeader => "a global PAX header",
        _ => "of an unknown type",
    };
    Err(refused(format!("the entry {} is {what}", names::escape(&header.path_bytes()))))
}

fn read_pax(header: &Header, pull: &mut Pull<'_>, seen: &mut Vec<u8>) -> Result<Vec<u8>, Failure> {
    let size = header.entry_size().map_err(|_| refused("a PAX header has no size"))?;
    if size > MAX_PAX {
        return Err(refused(format!("a PAX header of {size} bytes is longer than {MAX_PAX}")));
    }
    let mut body = vec![0; size as usize + padding(size)];
    pull(&mut body)?;
    seen.extend_from_slice(&body);
    body.truncate(size as usize);
    Ok(body)
}

/// What header and PAX records say; whether they may say it so is decided by spelling it again.
fn meaning(header: &Header, pax: &[u8]) -> Result<Entry, Failure> {
    let (mut path, mut target) =
        (header.path_bytes().into_owned(), header.link_name_bytes().unwrap_or_default().into_owned());
    for (key, value) in records(pax)? {
        match key {
            b"path" => path = value.to_vec(),
            b"linkpath" => target = value.to_vec(),
            other => return Err(refused(format!("a PAX header holds {}", names::escape(other)))),
        }
    }
    let shown = names::escape(&path);
    let path = names::check_path(&path).map_err(|why| refused(format!("the entry {shown}: {why}")))?.to_owned();
    let mode = header.mode().map_err(|_| refused(format!("the entry {shown} has no mode")))?;
    if mode & 0o7000 != 0 {
        return Err(refused(format!("the entry {shown} has a setuid, setgid or sticky bit")));
    }
    let item = match header.entry_type() {
        EntryType::Directory => Item::Directory,
        EntryType::Symlink => {
            let text =
                names::check_target(&target).map_err(|why| refused(format!("the link {shown}: its target: {why}")))?;
            Item::Link { target: text.to_owned() }
        }
        EntryType::Regular => {
            let size = header.entry_size().map_err(|_| refused(format!("the entry {shown} has no size")))?;
            Item::File { exec: Exec::of_mode(mode), size }
        }
        _ => return Err(refused("a PAX header is followed by another")),
    };
    Ok(Entry { path, item })
}

/// `<length> <key>=<value>\n`, the length counting itself.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    format!("{length} {key}={value}\n")
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn records(pax: &[u8]) -> Result<Vec<Record<'_>>, Failure> {
    let broken = || refused("a PAX header cannot be read");
    let (mut rest, mut found) = (pax, Vec::new());
    while !rest.is_empty() {
        let space = rest.iter().take(6).position(|byte| *byte == b' ').ok_or_else(broken)?;
        let digits = rest.get(..space).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(broken)?;
        let length: usize = digits.parse().map_err(|_| broken())?;
        let record = rest.get(space + 1..length).and_then(|text| text.strip_suffix(b"\n")).ok_or_else(broken)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
        found.push((record.get(..equals).unwrap_or_default(), record.get(equals + 1..).unwrap_or_default()));
        rest = rest.get(length..).ok_or_else(broken)?;
    }
    Ok(found)
}

fn block(kind: EntryType, path: &str, target: &str, (mode, size): (u32, u64)) -> [u8; BLOCK] {
    let mut header = Header::new_ustar();
    if let Some(fields) = header.as_ustar_mut() {
        put(&mut fields.name, path);
        put(&mut fields.linkname, target);
    }
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}

/// As much of the text as fits; the whole of it stands in the PAX header then.
fn put(field: &mut [u8], text: &str) {
    for (slot, byte) in field.iter_mut().zip(text.bytes()) {
        *slot = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Option<Entry>, Failure> {
        let mut rest = bytes;
        read(&mut |buffer| std::io::Read::read_exact(&mut rest, buffer).map_err(|_| refused("cut off")))
    }

    #[test]
    fn long_names_and_targets_read_back() {
        for path in ["a".to_owned(), "b".repeat(100), format!("é{}", "c/".repeat(98) + "d"), "ü/".repeat(99) + "x"] {
            for item in [
                Item::Directory,
                Item::File { exec: Exec::Program, size: 1 << 40 },
                Item::Link { target: "/usr/bin/".to_owned() + &"t".repeat(path.len()) },
            ] {
                let entry = Entry { path: path.clone(), item };
                let mut bytes = Vec::new();
                spell(&entry, &mut bytes);
                assert_eq!(bytes.len() % BLOCK, 0);
                assert_eq!(read_all(&bytes), Ok(Some(entry)));
            }
        }
    }

    #[test]
    fn a_pax_record_counts_its_own_length() {
        for length in [1, 90, 91, 92, 93, 988, 989, 990, 991] {
            let text = record("path", &"p".repeat(length));
            assert!(text.starts_with(&format!("{} path=", text.len())), "{text}");
        }
    }

    #[test]
    fn any_other_spelling_of_the_same_entry_is_refused() {
        let entry = Entry { path: "a".into(), item: Item::File { exec: Exec::Plain, size: 3 } };
        let mut good = Vec::new();
        spell(&entry, &mut good);
        assert_eq!(read_all(&good), Ok(Some(entry)));
        for (offset, value) in [(108, b"0000007\0"), (136, b"0000001 "), (265, b"root\0\0\0\0"), (329, b"0000001\0")] {
            let mut bytes = good.clone();
            bytes[offset..offset + 8].copy_from_slice(value);
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(&bytes);
            header.set_cksum();
            let failure = read_all(header.as_bytes()).unwrap_err();
            assert_eq!(failure.what, "the header of a is not as commis writes it", "{offset}");
        }
    }
}
