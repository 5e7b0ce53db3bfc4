//! What `bin/bench` times of the rooms `archives`, `backups` and `trees`: one call of the library for each command, nothing around it.

use commis::archives::signing::{Namespace, SigningKey};
use commis::archives::statement::{self, Run, Subject};
use commis::archives::{self, Effort, Expect, Links, ManifestBase, Packed, UnpackLimits};
use commis::archives::{compare, shelf, verify};
use commis::backups::backup::{self, BackedUp, Exclude, Shelf};
use commis::backups::twin;
use commis::model::{Code, CommitId, Failure, Mode, ProjectName, ReleaseVersion};
use commis::system::UserIds;
use commis::system::own_key::FirstStart;
use commis::trees::stamps;
use std::path::{Path, PathBuf};

const USAGE: &str = "pack TREE OUT | bundle TREE OUT KEY [BEFORE] | unpack ARCHIVE INTO | copy TREE TO | stamp TREE | take TREE TO STAMP | \
                     verify TREE STAMP | digest TREE | backup DATA PLACE [EARLIER] | copy-back PLACE TO";

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(said) => {
            println!("{said}");
            std::process::ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<String, Failure> {
    match *words {
        ["pack", tree, out] => pack(tree, out, None).map(|packed| packed.archive_sha256),
        ["bundle", tree, out, key] => bundle(tree, (out, key), None),
        ["bundle", tree, out, key, before] => bundle(tree, (out, key), Some(Path::new(before))),
        ["unpack", archive, into] => unpack(Path::new(archive), Path::new(into)),
        ["copy", tree, to] => twin::copy(Path::new(tree), Path::new(to)).map(|done| done.written.to_string()),
        ["stamp", tree] => Ok(stamps::take(Path::new(tree))?.0),
        ["verify", tree, stamp] => match stamps::take(Path::new(tree))?.0 == *stamp {
            true => Ok("unchanged".into()),
            false => Err(Failure::new(Code::VerifyFailed, "changed")),
        },
        ["take", tree, to, stamp] => take(Path::new(tree), Path::new(to), stamp),
        ["digest", tree] => Ok(compare::tree_digest(Path::new(tree))?.sha256),
        ["backup", data, place] => back_up(Path::new(data), Path::new(place), None),
        ["backup", data, place, earlier] => back_up(Path::new(data), Path::new(place), Some(Path::new(earlier))),
        ["copy-back", place, to] => copy_back(Path::new(place), Path::new(to)),
        _ => Err(Failure::new(Code::Usage, USAGE)),
    }
}

fn pack(tree: &str, out: &str, before: Option<&Path>) -> Result<Packed, Failure> {
    archives::pack(Path::new(tree), &base(), Path::new(out), Effort { threads: 2, before })
}

/// All that the steps of the phase bundle leave on the shelf: four files, in the end with a digest and a signature.
fn bundle(tree: &str, (out, key): (&str, &str), before: Option<&Path>) -> Result<String, Failure> {
    let first_start = if Path::new(key).exists() { FirstStart::No } else { FirstStart::Yes };
    let key = SigningKey::load_or_create(Path::new(key), first_start)?;
    let packed = pack(tree, out, before)?;
    let digest = verify::bytes_of(&packed.archive_sha256).ok_or_else(|| missing("a digest"))?;
    let archive = Path::new(out);
    shelf::put_beside(archive, verify::SIGNATURE, &key.sign(Namespace::Release, &digest)?)?;
    let file_name = archive.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let subject = Subject { file_name, sha256: &packed.archive_sha256, manifest: &packed.manifest };
    shelf::put_beside(archive, verify::STATEMENT, &statement::write(&subject, &Run::default(), None))?;
    Ok(packed.archive_sha256)
}

/// As a deployment does it, under the limits for archives from elsewhere.
fn unpack(archive: &Path, into: &Path) -> Result<String, Failure> {
    let expect = Expect { sha256: sum_beside(archive), limits: UnpackLimits::default() };
    let unpacked = archives::unpack(archive, &expect, into, UserIds::of(0), Links::InsideOnly)?;
    Ok(unpacked.manifest.tree.sha256)
}

/// What a way back does with the tree that was kept: into its place by its name, and compared.
fn take(tree: &Path, to: &Path, stamp: &str) -> Result<String, Failure> {
    std::fs::rename(tree, to).map_err(|error| Failure::internal("take the tree", &error))?;
    if stamps::take(to)?.0 != stamp {
        return Err(Failure::new(Code::VerifyFailed, "changed"));
    }
    Ok("taken".into())
}

/// The step that backs data up, without the sync of the disk at its end: `cp` does none either.
fn back_up(data: &Path, place: &Path, earlier: Option<&Path>) -> Result<String, Failure> {
    let (exclude, shelf) = (Exclude::default(), shelf_in(place));
    let earlier = earlier.and_then(|place| backup::known(&shelf_in(place)));
    backup::survey(data, &exclude, earlier.as_ref())?;
    let made = std::fs::create_dir_all(&shelf.data);
    made.map_err(|error| Failure::internal("make the place of a backup", &error))?;
    let done = backup::back_up(data, &shelf, (&exclude, UserIds::of(0)), earlier.as_ref())?;
    Ok(said(&done))
}

fn copy_back(place: &Path, to: &Path) -> Result<String, Failure> {
    std::fs::create_dir(to).map_err(|error| Failure::internal("make the place of data", &error))?;
    backup::copy_back(&shelf_in(place), to).map(|done| said(&done))
}

fn said(done: &BackedUp) -> String {
    format!("{} files, {} bytes", done.files, done.bytes)
}

fn shelf_in(place: &Path) -> Shelf {
    Shelf { data: place.join("data"), inventory: place.join("inventory") }
}

/// The digest that stands beside an archive, as `sha256sum` writes it.
fn sum_beside(archive: &Path) -> String {
    let beside: PathBuf = shelf::beside(archive, verify::CHECKSUM);
    let text = std::fs::read_to_string(beside).unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn missing(what: &str) -> Failure {
    Failure::new(Code::Internal, format!("there is no {what}"))
}

fn base() -> ManifestBase {
    ManifestBase {
        project: ProjectName::parse("bench").expect("a name"),
        version: ReleaseVersion(1),
        environment: Some("bench".into()),
        commit: CommitId::parse(&"1".repeat(40)).expect("a commit"),
        pillar_commit: None,
        mode: Mode::Cooking,
        buildpacks: Vec::new(),
        processes: Default::default(),
    }
}
