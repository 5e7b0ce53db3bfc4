//! Where a release comes from, as others read it: an in-toto statement with SLSA provenance, and beside the predicate the
//! proof that the release was live. Pure. Of the pillar it has a digest of the commit's name, and nothing of its content.

use super::manifest::{Manifest, ManifestBase};
use crate::model::Failure;
use crate::model::words::hex;
use crate::trees::faults::refused;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Longest statement that is read.
pub const MAX_STATEMENT: usize = 256 << 10;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
const BUILD_TYPE: &str = "urn:commis:cook:v1";

/// What a statement is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Name of the archive.
    pub file_name: &'a str,
    /// Of the archive, lower-case hex.
    pub sha256: &'a str,
    pub manifest: &'a Manifest,
}

/// Who cooked it, and when.
#[derive(Clone, Debug, Default)]
pub struct Run<'a> {
    /// Name of the host.
    pub host: &'a str,
    /// `blog#42`: the deployment.
    pub invocation: String,
    /// RFC 3339; when the archive was finished.
    pub finished: String,
    /// The job that pushed, when somebody named it.
    pub ci_url: Option<&'a str>,
}

/// The proof that a release was live, and well, where it was cooked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    pub environment: String,
    /// RFC 3339, as it stands in the signed line.
    pub at: String,
    /// Armoured, over [`live_line`].
    pub signature: String,
}

/// What a statement says that matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stated {
    /// Of the archive.
    pub sha256: String,
    pub live: Option<Live>,
}

/// `live <project> <version> <sha256> <RFC 3339>\n`: what is signed by a server on which a release was live.
pub fn live_line(base: &ManifestBase, sha256: &str, at: &str) -> String {
    format!("live {} {} {sha256} {at}\n", base.project, base.version)
}

/// Digest of a signed line.
pub fn digest(line: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(line).0
}

/// The document; ends with a line break.
pub fn write(subject: &Subject<'_>, run: &Run<'_>, live: Option<&Live>) -> String {
    let base = &subject.manifest.base;
    let mut statement = json!({
        "_type": STATEMENT,
        "subject": [{ "name": subject.file_name, "digest": { "sha256": subject.sha256 } }],
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "project": base.project.as_str(),
                    "version": base.version.to_string(),
                    "mode": base.mode.as_str(),
                    "environment": base.environment,
                },
                "internalParameters": run.ci_url.map_or(json!({}), |url| json!({ "ciUrl": url })),
                "resolvedDependencies": dependencies(subject.manifest),
            },
            "runDetails": {
                "builder": { "id": format!("urn:commis:host:{}", run.host), "version": { "commis": env!("CARGO_PKG_VERSION") } },
                "metadata": { "invocationId": run.invocation, "finishedOn": run.finished },
                "byproducts": [{ "name": "tree", "digest": { "sha256": subject.manifest.tree.sha256 } }],
            },
        },
    });
    if let (Some(live), Some(members)) = (live, statement.as_object_mut()) {
        members.insert("commis".into(), json!({ "live": live }));
    }
    let mut text = serde_json::to_string_pretty(&statement).unwrap_or_default();
    text.push('\n');
    text
}

/// The same statement with the proof in it.
pub fn with_live(text: &str, live: &Live) -> Result<String, Failure> {
    let unreadable = |error: serde_json::Error| refused(format!("provenance: {error}"));
    let mut statement: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(unreadable)?;
    statement.insert("commis".into(), json!({ "live": live }));
    let mut text = serde_json::to_string_pretty(&statement).map_err(unreadable)?;
    text.push('\n');
    Ok(text)
}

fn dependencies(manifest: &Manifest) -> Vec<Value> {
    let base = &manifest.base;
    let sha256 = |name: String, digest: &str| json!({ "name": name, "digest": { "sha256": digest } });
    let project = json!({ "name": "project", "digest": { "gitCommit": base.commit.to_string() } });
    let pillar = base.pillar_commit.as_ref().map(|commit| sha256("pillar".into(), &hex(&digest(commit.to_string()))));
    let packs = base.buildpacks.iter().map(|pack| match &pack.digest {
        Some(digest) => sha256(format!("buildpack/{}", pack.name), digest),
        None => json!({ "name": format!("buildpack/{}", pack.name) }),
    });
    let locks = manifest.tree.lockfiles.iter().map(|(name, digest)| sha256(name.clone(), digest));
    std::iter::once(project).chain(pillar).chain(packs).chain(locks).collect()
}

/// Reads a statement; what it says of itself must be what [`write()`] says, and about one archive.
pub fn read(text: &str) -> Result<Stated, Failure> {
    let bad = |what: &str| refused(format!("provenance: {what}"));
    if text.len() > MAX_STATEMENT {
        return Err(bad(&format!("longer than {MAX_STATEMENT} bytes")));
    }
    let document: Document = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
    if (document.statement.as_str(), document.predicate_type.as_str()) != (STATEMENT, PROVENANCE) {
        return Err(bad("not an in-toto statement with SLSA provenance"));
    }
    let [subject] = document.subject.as_slice() else { return Err(bad("not about one archive")) };
    Ok(Stated { sha256: subject.digest.sha256.clone(), live: document.commis.and_then(|own| own.live) })
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "_type")]
    statement: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    subject: Vec<About>,
    #[serde(default)]
    commis: Option<Own>,
}

#[derive(Deserialize)]
struct About {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    #[serde(default)]
    live: Option<Live>,
}
