//! Signatures, checked by the real `ssh-keygen` and by us; and the four files of a release, each of them wrong once.

use super::*;
use crate::archives::signers::{Distrust, Signers};
use crate::archives::signing::{Namespace, SigningKey};
use crate::archives::statement::{self, Live, Run, Subject};
use crate::archives::verify::{Expected, Verified, verify_release};
use crate::archives::{Manifest, pack};
use crate::model::{Code, Time};
use crate::system::own_key::FirstStart;
use crate::trees;
use crate::trees::settle;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const NOW: Time = Time(1_795_171_267_000);
const AT: &str = "2026-11-20T10:41:07.123Z";

struct Signed {
    place: tempfile::TempDir,
    key: SigningKey,
}

impl Signed {
    /// A release of the blog, cooked and signed in staging, and live there.
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let key = SigningKey::load_or_create(&place.path().join("release_ed25519_key"), FirstStart::Yes).unwrap();
        let signed = Self { place, key };
        let tree = signed.place.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("app.py"), "print('hi')\n").unwrap();
        fs::write(tree.join("uv.lock"), "version = 1\n").unwrap();
        let packed = pack(&tree, &base(), &signed.archive(), Effort::with(1)).unwrap();
        signed.sign(&packed.archive_sha256);
        let text = signed.statement(&packed.manifest, &packed.archive_sha256);
        settle::write_whole(&settle::suffixed(&signed.archive(), ".intoto.json"), text.as_bytes()).unwrap();
        fs::write(signed.place.path().join("allowed_signers"), signed.key.allowed_signers_line("staging") + "\n")
            .unwrap();
        signed
    }

    fn archive(&self) -> PathBuf {
        self.place.path().join("blog-v42-3f3f3f3.tar.zst")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        settle::suffixed(&self.archive(), suffix)
    }

    fn sign(&self, sha256: &str) {
        let digest = crate::archives::verify::bytes_of(sha256).unwrap();
        fs::write(self.beside(".sig"), self.key.sign(Namespace::Release, &digest).unwrap()).unwrap();
    }

    fn statement(&self, manifest: &Manifest, sha256: &str) -> String {
        let line = statement::live_line(&manifest.base, sha256, AT);
        let signature = self.key.sign(Namespace::Live, &statement::digest(&line)).unwrap();
        let live = Live { environment: "staging".into(), at: AT.into(), signature };
        let subject = Subject { file_name: "blog-v42-3f3f3f3.tar.zst", sha256, manifest };
        let run = Run { host: "staging1", invocation: "blog#42".into(), finished: AT.into(), ci_url: None };
        statement::write(&subject, &run, Some(&live))
    }

    fn signers(&self) -> Signers {
        Signers::parse(&self.key.allowed_signers_line("staging"), "allowed_signers").unwrap()
    }

    fn verify_as(&self, expected: &Expected, signers: &Signers, now: Time) -> Result<Verified, Failure> {
        verify_release(&self.archive(), expected, signers, now)
    }

    fn refusal(&self) -> String {
        let failure = self.verify_as(&expected(), &self.signers(), NOW).unwrap_err();
        assert_eq!(failure.code, Code::VerifyFailed, "{failure:?}");
        failure.what
    }

    /// `ssh-keygen -Y verify` of the file that is given.
    fn openssh_accepts(&self, principal: &str, namespace: &str, signature: &Path, message: &Path) -> bool {
        let mut keygen = Command::new("ssh-keygen");
        keygen
            .args(["-Y", "verify", "-I", principal, "-n", namespace, "-f"])
            .arg(self.place.path().join("allowed_signers"));
        keygen.arg("-s").arg(signature).stdin(fs::File::open(message).unwrap()).stdout(Stdio::null());
        keygen.stderr(Stdio::null()).status().unwrap().success()
    }
}

fn expected() -> Expected {
    Expected {
        project: base().project,
        environment: Some("staging".into()),
        sha256: None,
        limits: UnpackLimits::default(),
    }
}

#[test]
fn openssh_verifies_what_we_sign_and_notices_a_changed_byte() {
    let signed = Signed::new();
    let (archive, sig) = (signed.archive(), signed.beside(".sig"));
    assert!(signed.openssh_accepts("staging", "commis-release", &sig, &archive));
    assert!(!signed.openssh_accepts("staging", "commis-live", &sig, &archive));
    assert!(!signed.openssh_accepts("prod", "commis-release", &sig, &archive));
    let mut bytes = fs::read(&archive).unwrap();
    bytes[40] ^= 1;
    fs::write(signed.place.path().join("tampered"), bytes).unwrap();
    assert!(!signed.openssh_accepts("staging", "commis-release", &sig, &signed.place.path().join("tampered")));
    // The proof that it was live is a signature over a line like any other.
    let document: serde_json::Value =
        serde_json::from_slice(&fs::read(signed.beside(".intoto.json")).unwrap()).unwrap();
    let live = &document["commis"]["live"];
    let sha256 = crate::archives::unpack::file_sha256(&archive, &UnpackLimits::default()).unwrap();
    fs::write(signed.place.path().join("line"), format!("live blog v42 {sha256} {AT}\n")).unwrap();
    fs::write(signed.place.path().join("line.sig"), live["signature"].as_str().unwrap()).unwrap();
    let (line, sig) = (signed.place.path().join("line"), signed.place.path().join("line.sig"));
    assert!(signed.openssh_accepts("staging", "commis-live", &sig, &line));
}

#[test]
fn what_openssh_signs_we_verify() {
    let signed = Signed::new();
    fs::remove_file(signed.beside(".sig")).unwrap();
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-Y", "sign", "-n", "commis-release", "-O", "hashalg=sha256", "-f"]);
    keygen.arg(signed.place.path().join("release_ed25519_key")).arg(signed.archive());
    assert!(keygen.stderr(Stdio::null()).status().unwrap().success());
    let verified = signed.verify_as(&expected(), &signed.signers(), NOW).unwrap();
    assert_eq!(verified.signer.fingerprint, signed.key.fingerprint());
}

#[test]
fn a_release_that_is_what_it_should_be_says_so() {
    let signed = Signed::new();
    let verified = signed.verify_as(&expected(), &signed.signers(), NOW).unwrap();
    assert_eq!(verified.base, base());
    assert_eq!(verified.live.map(|live| live.at), Some(Time(1_795_171_267_123)));
    assert_eq!(verified.signer.environment, "staging");
    let text = fs::read_to_string(signed.beside(".intoto.json")).unwrap();
    assert!(!text.contains(&"ab".repeat(20)), "of the pillar a digest, not the name of its commit");
    assert!(text.contains("\"uv.lock\"") && text.contains("urn:commis:host:staging1"), "{text}");
}

type Spoil<'a> = (&'a str, &'a dyn Fn(&Signed));

fn rewrite(signed: &Signed, suffix: &str, from: &str, to: &str) {
    let text = fs::read_to_string(signed.beside(suffix)).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(signed.beside(suffix), text.replacen(from, to, 1)).unwrap();
}

fn each_is_refused(cases: &[Spoil<'_>]) {
    for (says, spoil) in cases {
        let signed = Signed::new();
        assert!(signed.verify_as(&expected(), &signed.signers(), NOW).is_ok(), "known-good");
        spoil(&signed);
        let what = signed.refusal();
        assert!(what.starts_with(says), "{what} does not begin with {says}");
    }
}

#[test]
fn each_wrong_archive_and_signature_is_refused_by_the_name_of_its_check() {
    each_is_refused(&[
        ("digest: sha256 is ", &|signed| {
            let bytes = fs::read(signed.archive()).unwrap();
            fs::write(signed.archive(), [&bytes[..], b"x"].concat()).unwrap();
        }),
        ("digest: blog-v42-3f3f3f3.tar.zst.sha256 is missing", &|signed| {
            fs::remove_file(signed.beside(".sha256")).unwrap()
        }),
        ("digest: sha256 is ", &|signed| fs::write(signed.beside(".sha256"), "\x1b[2J").unwrap()),
        ("signature: blog-v42-3f3f3f3.tar.zst.sig is missing", &|signed| {
            fs::remove_file(signed.beside(".sig")).unwrap()
        }),
        ("signature: it cannot be read", &|signed| fs::write(signed.beside(".sig"), "-----BEGIN SSH").unwrap()),
        ("signature: it is not of these bytes", &|signed| signed.sign(&"ab".repeat(32))),
        ("namespace: signed for \"commis-live\" instead of \"commis-release\"", &|signed| {
            fs::write(signed.beside(".sig"), signed.key.sign(Namespace::Live, &[0; 32]).unwrap()).unwrap();
        }),
    ]);
}

#[test]
fn each_wrong_statement_is_refused_by_the_name_of_its_check() {
    each_is_refused(&[
        ("provenance: it is about another archive", &|signed| {
            let sha256 = crate::archives::unpack::file_sha256(&signed.archive(), &UnpackLimits::default()).unwrap();
            rewrite(signed, ".intoto.json", &sha256, &"ab".repeat(32));
        }),
        ("provenance: not an in-toto statement", &|signed| {
            rewrite(signed, ".intoto.json", "Statement/v1", "Statement/v2")
        }),
        ("live proof: signature: it is not of these bytes", &|signed| {
            rewrite(signed, ".intoto.json", &format!("\"at\": \"{AT}\""), "\"at\": \"2026-11-20T10:41:08Z\"")
        }),
        ("live proof: of dev, not of staging", &|signed| {
            rewrite(
                signed,
                ".intoto.json",
                "\"environment\": \"staging\",\n      \"at\"",
                "\"environment\": \"dev\",\n      \"at\"",
            );
        }),
    ]);
}

#[test]
fn what_was_expected_is_what_must_have_come() {
    let signed = Signed::new();
    let says = |change: &dyn Fn(&mut Expected)| {
        let mut expected = expected();
        change(&mut expected);
        signed.verify_as(&expected, &signed.signers(), NOW).map(drop).unwrap_err().what
    };
    assert_eq!(
        says(&|expected| expected.project = ProjectName::parse("wiki").unwrap()),
        "project: it is a release of blog, not of wiki"
    );
    assert_eq!(
        says(&|expected| expected.environment = Some("dev".into())),
        "environment: cooked in staging instead of dev"
    );
    assert!(says(&|expected| expected.sha256 = Some("ab".repeat(32))).starts_with("digest: sha256 is "));
    let other = signed.place.path().join("blog-v43-3f3f3f3.tar.zst");
    for suffix in ["", ".sha256", ".sig", ".intoto.json"] {
        fs::copy(signed.beside(suffix), settle::suffixed(&other, suffix)).unwrap();
    }
    let failure = verify_release(&other, &expected(), &signed.signers(), NOW).unwrap_err();
    assert_eq!(failure.what, "name: the archive is v42 of commit 3f3f3f3");
}

#[test]
fn who_may_sign_what_and_when_is_said_by_the_file() {
    let signed = Signed::new();
    let key = signed.key.allowed_signers_line("x");
    let key = key.rsplit_once("\" ").unwrap().1;
    let verdict = |file: &str| {
        let signers = Signers::parse(file, "signers").unwrap();
        signed.verify_as(&Expected { environment: None, ..expected() }, &signers, NOW).map(drop).map_err(|f| f.what)
    };
    let print = signed.key.fingerprint();
    assert_eq!(verdict(&format!("# comment\n\nstaging {key} somebody\n")), Ok(()));
    assert_eq!(verdict(&format!("dev,st?g*,!prod namespaces=\"commis-*\" {key}")), Ok(()));
    assert_eq!(verdict(&format!("staging valid-after=\"20261120\",valid-before=\"202611201042Z\" {key}")), Ok(()));
    for (line, says) in [
        (String::new(), format!("signer: unknown key {print}")),
        (format!("prod {key}"), format!("signer: key {print} does not speak for staging")),
        (format!("*,!staging {key}"), format!("signer: key {print} does not speak for staging")),
        (format!("* namespaces=\"git\" {key}"), format!("signer: key {print} may not sign for \"commis-release\"")),
        (format!("* valid-before=\"20261120104106Z\" {key}"), format!("signer: key {print} has expired")),
        (format!("* valid-after=\"202611201042Z\" {key}"), format!("signer: key {print} is not valid yet")),
        (
            format!("prod {key}\nstaging valid-before=\"2020-01-01\" {key}").replace("2020-01-01", "20200101"),
            format!("signer: key {print} has expired"),
        ),
    ] {
        assert_eq!(verdict(&line), Err(says), "{line}");
    }
}

#[test]
fn a_file_of_signers_that_cannot_be_read_is_named_by_line() {
    let wrong = |line: &str| Signers::parse(&format!("# one\n{line}"), "signers").unwrap_err().what;
    for (line, says) in [
        ("staging", "signers line 2: no key"),
        ("staging ssh-ed25519", "signers line 2: no key after its type"),
        ("staging ssh-ed25519 AAAA", "signers line 2: the key cannot be read"),
        ("staging ssh-rsa AAAA", "signers line 2: RSA keys are not taken"),
        ("staging namespaces=\"a ssh-ed25519 AAAA", "signers line 2: a quote is not closed"),
        ("staging cert-authority ssh-ed25519 AAAA", "signers line 2: certificates are not taken"),
        ("staging valid-before=\"tomorrow\" ssh-ed25519 AAAA", "signers line 2: valid-before: should be"),
        ("staging valid-before=\"20261332\" ssh-ed25519 AAAA", "signers line 2: valid-before: should be"),
        ("staging no-touch ssh-ed25519 AAAA", "signers line 2: unknown option `no-touch`"),
    ] {
        assert!(wrong(line).starts_with(says), "{line}: {}", wrong(line));
    }
    let signers = Signed::new().signers();
    let long = signers.verify(&"x".repeat(9_000), (Namespace::Release, "staging"), &[0; 32], NOW);
    assert_eq!(long, Err(Distrust::Unreadable));
}

#[test]
fn the_list_of_files_is_what_sha256sum_reads() {
    let place = tempfile::tempdir().unwrap();
    let (tree, out) = (place.path().join("t"), place.path().join("out"));
    plant_tree(&tree, &mut |_| 0);
    fs::write(tree.join("many/back\\slash"), "odd").unwrap();
    pack(&tree, &base(), &out, Effort::with(2)).unwrap();
    let plain = zstd::stream::decode_all(fs::File::open(&out).unwrap()).unwrap();
    tar::Archive::new(&plain[..]).unpack(place.path()).unwrap();
    let check = |quiet: &str| {
        let mut sums = Command::new("sha256sum");
        sums.args(["-c", quiet, "../commis-files.txt"]).current_dir(place.path().join("tree"));
        sums.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(check("--strict"));
    fs::write(place.path().join("tree/app.py"), "other").unwrap();
    assert!(!check("--strict"), "known-bad");
    assert_eq!(
        trees::tree_size(&tree).unwrap().files,
        fs::read_to_string(place.path().join("commis-files.txt")).unwrap().lines().count() as u64
    );
}
