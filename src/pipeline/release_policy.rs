//! Whether a release that is genuine may also be deployed here: never live where it was cooked, older than what is live,
//! other bytes under a number that is taken. Pure. Whether it is genuine is `archives`' to say.

use crate::archives::Verified;
use crate::model::{Code, Failure, ReleaseVersion};

/// What somebody with the right to deploy may insist on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Insistence {
    pub tested: Tested,
    pub age: Age,
}

/// Whether a release must have been live where it was cooked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tested {
    #[default]
    Proved,
    /// `--untested`.
    OrNot,
}

/// Whether a release may be older than the live one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Age {
    #[default]
    NotOlder,
    /// `--downgrade`.
    Any,
}

/// What is here already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Here<'a> {
    pub live: Option<ReleaseVersion>,
    /// Digest of the release that has this number here, pruned or not.
    pub same_number: Option<&'a str>,
}

/// Why a genuine release is not deployed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("tested: {version} was never live in {environment}")]
    NeverLive { version: ReleaseVersion, environment: String },
    #[error("age: {version} is older than {live}, which is live")]
    Older { version: ReleaseVersion, live: ReleaseVersion },
    #[error("digest: {version} is here already with other bytes (sha256 {here})")]
    OtherBytes { version: ReleaseVersion, here: String },
}

/// The first reason against it. Nobody can insist on other bytes under a number that is taken.
pub fn judge(release: &Verified, here: Here<'_>, insistence: Insistence) -> Result<(), Refusal> {
    let version = release.base.version;
    if let Some(known) = here.same_number.filter(|known| *known != release.sha256) {
        return Err(Refusal::OtherBytes { version, here: known.to_owned() });
    }
    if release.live.is_none() && insistence.tested == Tested::Proved {
        return Err(Refusal::NeverLive { version, environment: release.signer.environment.clone() });
    }
    match here.live {
        Some(live) if version < live && insistence.age == Age::NotOlder => Err(Refusal::Older { version, live }),
        _ => Ok(()),
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Failure::new(Code::VerifyFailed, refusal.to_string());
        match refusal {
            Refusal::NeverLive { environment, .. } => {
                failure.hint(format!("deploy it in {environment} first, or insist: --untested"))
            }
            Refusal::Older { .. } => failure.hint("to go back on purpose: commis rollback, or insist: --downgrade"),
            Refusal::OtherBytes { .. } => failure.hint("a number is never used twice: cook a new release"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archives::ManifestBase;
    use crate::archives::signers::Signer;
    use crate::archives::verify::LiveProof;
    use crate::model::{CommitId, Mode, ProjectName, Time};

    fn release(live: Option<Time>) -> Verified {
        let environment = || "staging".to_owned();
        Verified {
            base: ManifestBase {
                project: ProjectName::parse("blog").unwrap(),
                version: ReleaseVersion(42),
                environment: Some(environment()),
                commit: CommitId::parse(&"3f".repeat(20)).unwrap(),
                pillar_commit: None,
                mode: Mode::Cooking,
                buildpacks: vec![],
                processes: [].into(),
            },
            sha256: "ab".repeat(32),
            bytes: 1,
            signer: Signer { environment: environment(), fingerprint: "SHA256:x".into() },
            live: live.map(|at| LiveProof { environment: environment(), at }),
        }
    }

    #[test]
    fn each_refusal_can_be_insisted_on_but_one() {
        let (tested, untested) = (release(Some(Time(1))), release(None));
        let here = |live, same_number| Here { live: Some(ReleaseVersion(live)), same_number };
        let not = Insistence::default();
        let version = ReleaseVersion(42);
        let own = "ab".repeat(32);
        assert_eq!(judge(&tested, here(42, Some(&own)), not), Ok(()));
        assert_eq!(judge(&tested, Here { live: None, same_number: None }, not), Ok(()));
        let never = Refusal::NeverLive { version, environment: "staging".into() };
        assert_eq!(judge(&untested, here(41, None), not), Err(never));
        assert_eq!(judge(&untested, here(41, None), Insistence { tested: Tested::OrNot, ..not }), Ok(()));
        let older = Refusal::Older { version, live: ReleaseVersion(43) };
        assert_eq!(judge(&tested, here(43, None), not), Err(older.clone()));
        assert_eq!(judge(&tested, here(43, None), Insistence { age: Age::Any, ..not }), Ok(()));
        let all = Insistence { tested: Tested::OrNot, age: Age::Any };
        let other = Refusal::OtherBytes { version, here: "cd".repeat(32) };
        assert_eq!(judge(&tested, here(41, Some(&"cd".repeat(32))), all), Err(other));
        let failure = Failure::from(older);
        assert_eq!(
            (failure.code, failure.what.as_str()),
            (Code::VerifyFailed, "age: v42 is older than v43, which is live")
        );
    }
}
