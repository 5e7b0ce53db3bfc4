//! What another server says of a release: `release head --json`, or the JSON of the deployment that made it. Pure.
//!
//! All of it is claims until the signature was checked; here it only has to make sense.

use crate::model::{CommitId, ProjectName, ReleasePart, ReleaseVersion};
use serde_json::Value;

/// Which release is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// What serves there now.
    Live,
    /// `v42`, or the SHA-256 of the archive.
    Named(String),
    /// The newest of this commit.
    Commit(String),
}

/// A release, as it is announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub version: ReleaseVersion,
    pub commit: CommitId,
    /// Of the archive, lower-case hex.
    pub sha256: String,
    /// Size of each file, in the order of [`ReleasePart::ALL`]; 0 for one that is not there.
    pub sizes: [u64; 4],
    /// Content of all files of its tree; 0 when it is not told.
    pub tree_bytes: u64,
    /// Where it runs on that server, when it is told.
    pub runs_at: Option<String>,
}

const ARCHIVE: &str = ".tar.zst";

impl Head {
    /// Reads either JSON. Errors are one phrase.
    pub fn parse(text: &[u8], project: &ProjectName) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
        let field = |key: &str| value[key].as_str().ok_or_else(|| format!("no `{key}`"));
        let other = field("project")?;
        if other != project.as_str() {
            return Err(format!("it is of project {}, not {project}", super::plain(other)));
        }
        let version = ReleaseVersion::parse(field("release")?).ok_or("`release` is not like v42")?;
        let commit = CommitId::parse(field("commit")?).ok_or("`commit` is not 40 hex digits")?;
        let artifacts = value["artifacts"].as_array().ok_or("no `artifacts`")?;
        let name = format!("{project}-{version}-{}{ARCHIVE}", commit.short());
        let find =
            |suffix: &str| artifacts.iter().find(|artifact| artifact["name"] == format!("{name}{suffix}").as_str());
        let archive = find("").ok_or_else(|| format!("no artifact {name}"))?;
        let sha256 = archive["sha256"].as_str().filter(|text| is_digest(text)).ok_or("no SHA-256 of the archive")?;
        let size = |part: ReleasePart| find(part.suffix()).and_then(|artifact| artifact["size"].as_u64()).unwrap_or(0);
        let sizes = ReleasePart::ALL.map(size);
        match ReleasePart::ALL.iter().zip(sizes).find(|(part, size)| *size > part.most()) {
            Some((part, size)) => Err(format!("its {} of {size} bytes is too long", part.as_str())),
            None => {
                let tree_bytes = value["tree_bytes"].as_u64().unwrap_or(0);
                let runs_at = value["runs_at"].as_str().map(super::plain);
                Ok(Self { version, commit, sha256: sha256.to_owned(), sizes, tree_bytes, runs_at })
            }
        }
    }

    /// `blog-v42-3f9c2e1.tar.zst`.
    pub fn file_name(&self, project: &ProjectName) -> String {
        format!("{project}-{}-{}{ARCHIVE}", self.version, self.commit.short())
    }

    /// Of one file.
    pub fn size(&self, part: ReleasePart) -> u64 {
        ReleasePart::ALL.iter().zip(self.sizes).find(|(other, _)| **other == part).map_or(0, |(_, size)| size)
    }
}

/// SHA-256 in lower-case hex.
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced() -> String {
        let (commit, digest) = ("3f".repeat(20), "ab".repeat(32));
        let name = format!("blog-v42-{}.tar.zst", &commit[..7]);
        serde_json::json!({
            "project": "blog", "release": "v42", "commit": commit,
            "artifacts": [
                {"name": name, "sha256": digest, "size": 1000},
                {"name": format!("{name}.sig"), "sha256": digest, "size": 300},
            ],
        })
        .to_string()
    }

    #[test]
    fn an_announcement_is_read_and_what_makes_no_sense_is_said() {
        let blog = ProjectName::parse("blog").unwrap();
        let head = Head::parse(announced().as_bytes(), &blog).unwrap();
        assert_eq!(
            (head.version.0, head.size(ReleasePart::Archive), head.size(ReleasePart::Signature)),
            (42, 1000, 300)
        );
        assert_eq!(head.size(ReleasePart::Provenance), 0);
        for (from, to, says) in [
            ("\"blog\"", "\"wiki\"", "of project wiki"),
            ("v42\"", "42x\"", "not like v42"),
            ("3f3f", "zzzz", "40 hex"),
            ("abab", "ABAB", "SHA-256"),
            ("-v42-", "-v43-", "no artifact blog-v42"),
            ("1000", "99999999999999", "too long"),
            ("artifacts", "files", "no `artifacts`"),
        ] {
            let text = announced().replacen(from, to, 1);
            let what = Head::parse(text.as_bytes(), &blog).unwrap_err();
            assert!(what.contains(says), "{what} does not say {says}");
        }
        assert!(Head::parse(b"[", &blog).unwrap_err().starts_with("not JSON"));
    }
}
