//! Mallory: somebody who has the signing key of a server that is trusted, and puts anything into a release. Archives are
//! written by hand here, with nothing of the program's own writer, so that nothing is left out because it never writes it.

use super::Pair;
use super::world::World;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// What one compressed frame of ours holds at most.
const FRAME: usize = 8 << 20;

/// The key, and a genuine release that every lie begins with.
pub struct Mallory {
    key: PathBuf,
    place: tempfile::TempDir,
    /// Name of the genuine archive; all the others have it too.
    pub name: String,
    /// The genuine archive as it is stored, and the tar in it.
    pub stored: Vec<u8>,
    pub tar: Vec<u8>,
}

/// One genuine member: where its header begins, and where the next one does.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    pub from: usize,
    pub to: usize,
}

impl Mallory {
    /// With staging's key, and a release of staging's.
    pub fn at(pair: &Pair, project: &str, version: &str) -> Self {
        let archive = pair.archive(&pair.staging, project, version);
        let stored = std::fs::read(&archive).expect("a genuine archive");
        let tar = zstd::stream::decode_all(stored.as_slice()).expect("zstd");
        let name = archive.file_name().expect("a name").to_string_lossy().into_owned();
        let place = tempfile::tempdir().expect("a place");
        Self { key: pair.staging.path("state/release_ed25519_key"), place, name, stored, tar }
    }

    /// The members of the genuine tar, in order.
    pub fn members(&self) -> Vec<Member> {
        let (mut found, mut at) = (Vec::new(), 0);
        while self.tar[at] != 0 {
            let header = Header::from_byte_slice(&self.tar[at..at + BLOCK]);
            let size = header.entry_size().expect("a size") as usize;
            let name = String::from_utf8(header.path_bytes().into_owned()).expect("text");
            let to = at + BLOCK + size.next_multiple_of(BLOCK);
            found.push(Member { name, from: at, to });
            at = to;
        }
        found
    }

    /// The genuine tar with something more right after `tree/`, where the first entry stands.
    pub fn with_first(&self, more: &[u8]) -> Vec<u8> {
        let at = self.members().iter().find(|member| member.name == "tree").expect("tree/").to;
        [&self.tar[..at], more, &self.tar[at..]].concat()
    }

    /// The beginning of the genuine tar, as far as `tree/`.
    pub fn start(&self) -> Vec<u8> {
        self.tar[..self.members().iter().find(|member| member.name == "tree").expect("tree/").to].to_vec()
    }

    /// Four files around an archive: its digest, its signature, its statement with the proof that it was live. All of it
    /// is in order, but for what the archive holds. Returns the path of the archive.
    pub fn signs(&self, write: impl FnOnce(&mut File)) -> PathBuf {
        let archive = self.place.path().join(&self.name);
        let mut file = File::create(&archive).expect("an archive");
        write(&mut file);
        drop(file);
        let sha256 = digest(&archive);
        std::fs::write(beside(&archive, ".sha256"), format!("{sha256}  {}\n", self.name)).expect("a digest");
        self.sign("commis-release", &archive);
        let at = "2026-01-02T03:04:05Z";
        let (project, version) = (self.name.split('-').next().expect("a name"), self.version());
        let line = self.place.path().join("line");
        std::fs::write(&line, format!("live {project} {version} {sha256} {at}\n")).expect("a line");
        self.sign("commis-live", &line);
        let signature = std::fs::read_to_string(beside(&line, ".sig")).expect("a signature");
        let statement = serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "https://slsa.dev/provenance/v1",
            "subject": [{ "name": self.name, "digest": { "sha256": sha256 } }],
            "commis": { "live": { "environment": "staging", "at": at, "signature": signature } },
        });
        std::fs::write(beside(&archive, ".intoto.json"), statement.to_string()).expect("a statement");
        archive
    }

    /// `v2`.
    pub fn version(&self) -> &str {
        self.name.split('-').nth(1).expect("a version")
    }

    /// The four files as one tar, written by plain `tar`.
    pub fn carton(&self) -> PathBuf {
        let carton = self.place.path().join("carton.tar");
        let mut tar = Command::new("tar");
        tar.arg("--format=ustar").arg("-cf").arg(&carton).arg("-C").arg(self.place.path());
        tar.args(["", ".sha256", ".sig", ".intoto.json"].map(|suffix| format!("{}{suffix}", self.name)));
        assert!(tar.status().expect("tar").success());
        carton
    }

    /// Puts the four files on staging's own shelf, where staging believes that it cooked them.
    pub fn plants(&self, staging: &World) {
        let project = self.name.split('-').next().expect("a name");
        let releases = staging.path("srv").join(project).join("releases");
        for suffix in ["", ".sha256", ".sig", ".intoto.json"] {
            let name = format!("{}{suffix}", self.name);
            std::fs::copy(self.place.path().join(&name), releases.join(&name)).expect("a planted file");
        }
        let archive = self.place.path().join(&self.name);
        let bytes = std::fs::metadata(&archive).expect("an archive").len() as i64;
        let ledger = rusqlite::Connection::open(staging.path("state/state.db")).expect("the ledger");
        ledger.busy_timeout(std::time::Duration::from_secs(20)).expect("patience");
        let changed = ledger.execute(
            "UPDATE releases SET sha256 = ?1, bytes = ?2 WHERE project = ?3 AND file_name = ?4",
            rusqlite::params![digest(&archive), bytes, project, self.name],
        );
        assert_eq!(changed.expect("a changed row"), 1);
    }

    fn sign(&self, namespace: &str, file: &Path) {
        let _ = std::fs::remove_file(beside(file, ".sig"));
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-Y", "sign", "-O", "hashalg=sha256", "-n", namespace, "-f"]).arg(&self.key).arg(file);
        assert!(keygen.stderr(Stdio::null()).status().expect("ssh-keygen").success());
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn digest(path: &Path) -> String {
    let mut hash = Sha256::new();
    std::io::copy(&mut File::open(path).expect("a file"), &mut HashWriter(&mut hash)).expect("its bytes");
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One entry of a tar: header as commis writes it, changed by somebody, and a content.
pub fn entry(name: &[u8], kind: EntryType, content: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_ustar_mut().expect("ustar").name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    change(&mut header);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

pub fn file(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name.as_bytes(), EntryType::Regular, content, |_| {})
}

pub fn directory(name: &str) -> Vec<u8> {
    entry(name.as_bytes(), EntryType::Directory, b"", |_| {})
}

/// A link of this kind: symbolic, hard, or what has no business with a target.
pub fn link(name: &str, target: &str, kind: EntryType) -> Vec<u8> {
    entry(name.as_bytes(), kind, b"", |header| {
        header.as_ustar_mut().expect("ustar").linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(if kind == EntryType::Symlink { 0o777 } else { 0o644 });
    })
}

/// A PAX header with one record.
pub fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
    let mut record = format!("{} {key}=", length.expect("a length")).into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    entry(b"pax", EntryType::XHeader, &record, |_| {})
}

/// In frames as commis writes them.
pub fn compressed(tar: &[u8]) -> Vec<u8> {
    tar.chunks(FRAME).flat_map(|piece| zstd::bulk::compress(piece, 1).expect("zstd")).collect()
}

/// Frames of zeros: so many times eight megabytes.
pub fn zeros(file: &mut File, frames: usize) {
    let frame = zstd::bulk::compress(&vec![0; FRAME], 1).expect("zstd");
    (0..frames).for_each(|_| file.write_all(&frame).expect("a bomb"));
}
