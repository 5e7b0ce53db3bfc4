//! What a release says about itself, and its JSON form, versioned. Pure. Three documents stand in an archive: the first
//! entry says what it is, before anything is read; the last two say what must have come, after everything was: each file
//! with its digest, then their sum. Archives of format 1, which lack the list of files, are read and no longer written.
//! Signatures cover the archive as a whole and stand beside it.

use super::listing::{Listing, TreeSum};
use crate::model::{CommitId, Failure, Mode, ProcessType, ProjectName, ReleaseVersion};
use crate::trees::faults::refused;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// First entry of an archive.
pub const HEAD: &str = "commis-release.json";
/// Directory of an archive that becomes `run/`.
pub const TREE: &str = "tree";
/// Entry after the tree: the digest of each file, as `sha256sum -c` reads it in the directory of the tree.
pub const FILES: &str = "commis-files.txt";
/// Last entry of an archive.
pub const SEAL: &str = "commis-tree.json";
/// Longest document in bytes, refused before it is read.
pub const MAX_DOCUMENT: u64 = 256 << 10;
/// Number of the format of archives and of these documents, as they are written.
pub const FORMAT: u32 = 2;
/// The oldest that is read.
const OLDEST: u32 = 1;
/// The first that lists its files.
const LISTS_FILES: u32 = 2;

/// What is known of a release before its tree is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestBase {
    pub project: ProjectName,
    /// Counts the releases of the project, never re-used: a later one has a higher number, on every server.
    pub version: ReleaseVersion,
    /// Name of the environment that cooked it; `None` in archives of format 1.
    pub environment: Option<String>,
    pub commit: CommitId,
    /// The pillar it was cooked with; `None` when the project has none.
    pub pillar_commit: Option<CommitId>,
    pub mode: Mode,
    /// In the order in which they ran.
    pub buildpacks: Vec<Buildpack>,
    /// Process types of the Procfile (and of buildpacks) and their command lines.
    pub processes: BTreeMap<ProcessType, String>,
}

/// A buildpack that had a hand in the release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buildpack {
    pub name: String,
    /// Digest of its files, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The first entry of an archive, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub base: ManifestBase,
    pub contents: ContentsForm,
    format: u32,
}

/// How an archive says what must have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentsForm {
    /// The sum of the tree alone: format 1.
    Sum,
    /// Each file, then the sum.
    FilesAndSum,
}

/// All that a release says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    pub base: ManifestBase,
    pub tree: TreeSum,
}

impl ManifestBase {
    /// The document without the sum of the tree: first entry of an archive.
    pub fn to_json(&self) -> Vec<u8> {
        document(&self.wire(None))
    }

    /// Reads what [`Self::to_json`] wrote; refuses unknown formats, keys and shapes with `verify-failed`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        Head::parse(bytes).map(|head| head.base)
    }

    fn wire(&self, tree: Option<TreeWire>) -> ReleaseWire {
        ReleaseWire {
            format: FORMAT,
            project: self.project.to_string(),
            version: self.version.to_string(),
            environment: self.environment.clone(),
            commit: self.commit.to_string(),
            pillar_commit: self.pillar_commit.as_ref().map(CommitId::to_string),
            mode: self.mode.as_str().to_owned(),
            buildpacks: self.buildpacks.clone(),
            processes: self.processes.iter().map(|(kind, line)| (kind.to_string(), line.clone())).collect(),
            tree,
        }
    }
}

impl Head {
    /// Reads the first entry of an archive of any format that is known.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let wire = parse_document::<ReleaseWire>(HEAD, bytes)?;
        let format = wire.format;
        let contents = if format < LISTS_FILES { ContentsForm::Sum } else { ContentsForm::FilesAndSum };
        Ok(Self { base: wire.base()?, contents, format })
    }

    /// Reads the last entry, which has the same format.
    pub fn parse_seal(&self, bytes: &[u8]) -> Result<TreeSum, Failure> {
        let wire = parse_document::<SealWire>(SEAL, bytes)?;
        if wire.format != self.format {
            return Err(refused(format!("{SEAL}: format {} where {HEAD} has {}", wire.format, self.format)));
        }
        wire.tree.sum(SEAL)
    }
}

impl Manifest {
    /// Of a tree that changes under the hands of people: what it runs is known, what it adds up to is not.
    pub fn of_edited(base: ManifestBase) -> Self {
        Self { base, tree: Listing::default().finish() }
    }

    /// One document with everything, to be kept beside an archive or in a record.
    pub fn to_json(&self) -> Vec<u8> {
        document(&self.base.wire(Some(TreeWire::of(&self.tree))))
    }

    /// Reads what [`Self::to_json`] wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let wire = parse_document::<ReleaseWire>(HEAD, bytes)?;
        let tree = wire.tree.clone().ok_or_else(|| refused(format!("{HEAD}: no `tree`")))?;
        Ok(Self { base: wire.base()?, tree: tree.sum(HEAD)? })
    }
}

/// Last entry of an archive.
pub fn seal_json(tree: &TreeSum) -> Vec<u8> {
    document(&SealWire { format: FORMAT, tree: TreeWire::of(tree) })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseWire {
    format: u32,
    project: String,
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    commit: String,
    pillar_commit: Option<String>,
    mode: String,
    buildpacks: Vec<Buildpack>,
    processes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tree: Option<TreeWire>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealWire {
    format: u32,
    tree: TreeWire,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeWire {
    files: u64,
    bytes: u64,
    sha256: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lockfiles: BTreeMap<String, String>,
}

impl ReleaseWire {
    fn base(self) -> Result<ManifestBase, Failure> {
        let bad = |key: &str, value: &str| refused(format!("{HEAD}: {key}: not acceptable: {}", value.escape_debug()));
        let commit = |key: &str, text: &str| CommitId::parse(text).ok_or_else(|| bad(key, text));
        let mut processes = BTreeMap::new();
        for (kind, line) in self.processes {
            let known = ProcessType::parse(&kind).filter(|_| !line.chars().any(|c| c.is_control() && c != '\t'));
            processes.insert(known.ok_or_else(|| bad("processes", &kind))?, line);
        }
        if let Some(odd) = self.buildpacks.iter().find(|pack| pack.name.chars().any(char::is_control)) {
            return Err(bad("buildpacks", &odd.name));
        }
        if let Some(odd) = self.environment.iter().find(|name| !crate::model::words::is_environment(name)) {
            return Err(bad("environment", odd));
        }
        Ok(ManifestBase {
            environment: self.environment,
            project: ProjectName::parse(&self.project).ok_or_else(|| bad("project", &self.project))?,
            version: ReleaseVersion::parse(&self.version).ok_or_else(|| bad("version", &self.version))?,
            commit: commit("commit", &self.commit)?,
            pillar_commit: self.pillar_commit.map(|text| commit("pillar_commit", &text)).transpose()?,
            mode: Mode::parse(&self.mode).ok_or_else(|| bad("mode", &self.mode))?,
            buildpacks: self.buildpacks,
            processes,
        })
    }
}

impl TreeWire {
    fn of(sum: &TreeSum) -> Self {
        Self { files: sum.files, bytes: sum.bytes, sha256: sum.sha256.clone(), lockfiles: sum.lockfiles.clone() }
    }

    fn sum(self, file: &str) -> Result<TreeSum, Failure> {
        if !is_sha256(&self.sha256) {
            return Err(refused(format!("{file}: tree.sha256: not a sha256 in hex")));
        }
        if let Some((name, _)) = self.lockfiles.iter().find(|(_, digest)| !is_sha256(digest)) {
            return Err(refused(format!("{file}: tree.lockfiles: {}: not a sha256 in hex", name.escape_debug())));
        }
        Ok(TreeSum { files: self.files, bytes: self.bytes, sha256: self.sha256, lockfiles: self.lockfiles })
    }
}

/// Whether the text is a sha256 as `sha256sum` prints it.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn document(wire: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(wire).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn parse_document<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(refused(format!("{file} is longer than {MAX_DOCUMENT} bytes")));
    }
    let unreadable = |error: serde_json::Error| refused(format!("{file}: {error}"));
    let Format { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if !(OLDEST..=FORMAT).contains(&format) {
        return Err(refused(format!("{file}: format {format} is not known here"))
            .hint(format!("this commis reads formats {OLDEST} to {FORMAT}; upgrade it, or cook the release again")));
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    fn manifest() -> Manifest {
        Manifest {
            base: ManifestBase {
                project: ProjectName::parse("blog").unwrap(),
                version: ReleaseVersion(42),
                environment: Some("staging".into()),
                commit: CommitId::parse(&"3f".repeat(20)).unwrap(),
                pillar_commit: None,
                mode: Mode::Cooking,
                buildpacks: vec![Buildpack { name: "python".into(), digest: None }],
                processes: [(ProcessType::web(), "gunicorn app:app".to_owned())].into(),
            },
            tree: TreeSum {
                files: 3,
                bytes: 1_000,
                sha256: "ab".repeat(32),
                lockfiles: [("uv.lock".to_owned(), "cd".repeat(32))].into(),
            },
        }
    }

    #[test]
    fn a_manifest_reads_back() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.to_json()), Ok(manifest.clone()));
        assert_eq!(ManifestBase::parse(&manifest.base.to_json()), Ok(manifest.base.clone()));
        let head = Head::parse(&manifest.base.to_json()).unwrap();
        assert_eq!(head.contents, ContentsForm::FilesAndSum);
        assert_eq!(head.parse_seal(&seal_json(&manifest.tree)), Ok(manifest.tree));
    }

    #[test]
    fn the_documents_of_format_1_are_read_still() {
        let old = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replacen("\"format\": 2", "\"format\": 1", 1);
        let manifest = manifest();
        let head = Head::parse(old(ManifestBase { environment: None, ..manifest.base }.to_json()).as_bytes()).unwrap();
        assert_eq!((head.contents, head.base.environment.clone()), (ContentsForm::Sum, None));
        let seal = seal_json(&manifest.tree);
        assert_eq!(head.parse_seal(old(seal.clone()).as_bytes()).map(|sum| sum.files), Ok(3));
        assert!(head.parse_seal(&seal).unwrap_err().what.contains("format 2 where commis-release.json has 1"));
    }

    #[test]
    fn a_manifest_that_is_not_ours_is_refused_with_its_key() {
        let text = String::from_utf8(manifest().to_json()).unwrap();
        for (from, to, says) in [
            ("\"format\": 2", "\"format\": 3, \"new\": 1", "format 3 is not known"),
            ("\"format\": 2", "\"format\": 0", "format 0 is not known"),
            ("\"staging\"", "\"../x\"", "environment: not acceptable"),
            ("cdcd", "cdcD", "tree.lockfiles: uv.lock: not a sha256"),
            ("\"blog\"", "\"../blog\"", "project: not acceptable"),
            ("\"v42\"", "\"-1\"", "version: not acceptable"),
            ("3f3f", "HEAD", "commit: not acceptable"),
            ("\"cooking\"", "\"raw\"", "mode: not acceptable"),
            ("\"web\"", "\"we b\"", "processes: not acceptable"),
            ("app:app", "\\u001b[2J", "processes: not acceptable"),
            ("\"files\"", "\"owner\": 0, \"files\"", "unknown field `owner`"),
            ("abab", "abaB", "tree.sha256"),
            ("{", "[", "commis-release.json: "),
        ] {
            assert!(text.contains(from), "{from}");
            let failure = Manifest::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(failure.code, Code::VerifyFailed);
            assert!(failure.what.contains(says), "{} does not say {says}", failure.what);
        }
        let long = vec![b' '; MAX_DOCUMENT as usize + 1];
        assert!(Manifest::parse(&long).unwrap_err().what.contains("longer than"));
    }
}
