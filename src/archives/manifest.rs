//! What a release says about itself, and its JSON form, versioned. Pure. Two documents stand in an archive: the first
//! entry says what it is, before anything is read; the last one says what must have come, after everything was.
//! Signatures cover the archive as a whole and stand beside it.

use super::faults::refused;
use super::listing::TreeSum;
use crate::model::{CommitId, Failure, Mode, ProcessType, ProjectName, ReleaseVersion};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// First entry of an archive.
pub const HEAD: &str = "commis-release.json";
/// Directory of an archive that becomes `run/`.
pub const TREE: &str = "tree";
/// Last entry of an archive.
pub const SEAL: &str = "commis-tree.json";
/// Longest document in bytes, refused before it is read.
pub const MAX_DOCUMENT: u64 = 256 << 10;
/// Number of the format of archives and of these documents.
pub const FORMAT: u32 = 1;

/// What is known of a release before its tree is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestBase {
    pub project: ProjectName,
    pub version: ReleaseVersion,
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
        parse_document::<ReleaseWire>(HEAD, bytes)?.base()
    }

    fn wire(&self, tree: Option<TreeWire>) -> ReleaseWire {
        ReleaseWire {
            format: FORMAT,
            project: self.project.to_string(),
            version: self.version.to_string(),
            commit: self.commit.to_string(),
            pillar_commit: self.pillar_commit.as_ref().map(CommitId::to_string),
            mode: self.mode.as_str().to_owned(),
            buildpacks: self.buildpacks.clone(),
            processes: self.processes.iter().map(|(kind, line)| (kind.to_string(), line.clone())).collect(),
            tree,
        }
    }
}

impl Manifest {
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

/// Reads what [`seal_json`] wrote.
pub fn parse_seal(bytes: &[u8]) -> Result<TreeSum, Failure> {
    parse_document::<SealWire>(SEAL, bytes)?.tree.sum(SEAL)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseWire {
    format: u32,
    project: String,
    version: String,
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
        Ok(ManifestBase {
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
        Self { files: sum.files, bytes: sum.bytes, sha256: sum.sha256.clone() }
    }

    fn sum(self, file: &str) -> Result<TreeSum, Failure> {
        if !is_sha256(&self.sha256) {
            return Err(refused(format!("{file}: tree.sha256: not a sha256 in hex")));
        }
        Ok(TreeSum { files: self.files, bytes: self.bytes, sha256: self.sha256 })
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
    if format != FORMAT {
        return Err(refused(format!("{file}: format {format} is not known here"))
            .hint(format!("this commis reads format {FORMAT}; upgrade it, or cook the release again")));
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
                commit: CommitId::parse(&"3f".repeat(20)).unwrap(),
                pillar_commit: None,
                mode: Mode::Cooking,
                buildpacks: vec![Buildpack { name: "python".into(), digest: None }],
                processes: [(ProcessType::web(), "gunicorn app:app".to_owned())].into(),
            },
            tree: TreeSum { files: 3, bytes: 1_000, sha256: "ab".repeat(32) },
        }
    }

    #[test]
    fn a_manifest_reads_back() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.to_json()), Ok(manifest.clone()));
        assert_eq!(ManifestBase::parse(&manifest.base.to_json()), Ok(manifest.base.clone()));
        assert_eq!(parse_seal(&seal_json(&manifest.tree)), Ok(manifest.tree));
    }

    #[test]
    fn a_manifest_that_is_not_ours_is_refused_with_its_key() {
        let text = String::from_utf8(manifest().to_json()).unwrap();
        for (from, to, says) in [
            ("\"format\": 1", "\"format\": 2, \"new\": 1", "format 2 is not known"),
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
