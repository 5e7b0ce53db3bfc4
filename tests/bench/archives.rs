//! What `bin/bench` times of the room `archives`: one call of the library for each command, nothing around it.

use commis::archives::backup::{self, Exclude, Shelf};
use commis::archives::{self, Effort, Expect, Links, ManifestBase, UnpackLimits, stamps, trees, twin};
use commis::model::{CommitId, Failure, Mode, ProjectName, ReleaseVersion};
use commis::system::UserIds;
use std::path::Path;

const USAGE: &str = "pack TREE OUT | repack TREE OUT BEFORE | sum ARCHIVE | unpack ARCHIVE INTO | stamp TREE | verify TREE STAMP | digest TREE | sync PATH | copy TREE OUT | backup DATA OUT [BEFORE]";

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
        ["pack", tree, out] => pack(tree, out, None),
        ["repack", tree, out, before] => pack(tree, out, Some(Path::new(before))),
        ["sum", archive] => Ok(sum_beside(archive)),
        ["unpack", archive, into] => {
            let limits = UnpackLimits { ratio: None, ..UnpackLimits::default() };
            let sha256 = sum_beside(archive);
            let expect = Expect { sha256, limits };
            let unpacked =
                archives::unpack(Path::new(archive), &expect, Path::new(into), UserIds::of(0), Links::AsBuilt)?;
            Ok(unpacked.manifest.tree.sha256)
        }
        ["stamp", tree] => Ok(stamps::take(Path::new(tree))?.0),
        ["verify", tree, stamp] => match stamps::take(Path::new(tree))?.0 == *stamp {
            true => Ok("unchanged".into()),
            false => Err(Failure::new(commis::model::Code::VerifyFailed, "changed")),
        },
        ["digest", tree] => Ok(trees::tree_digest(Path::new(tree))?.sha256),
        ["copy", tree, out] => Ok(format!("{} written", twin::copy(Path::new(tree), Path::new(out))?.written)),
        ["backup", data, out] => backup_of(data, out, None),
        ["backup", data, out, before] => backup_of(data, out, Some(before)),
        ["sync", path] => trees::sync(Path::new(path)).map(|()| "synced".into()),
        _ => Err(Failure::new(commis::model::Code::Usage, USAGE)),
    }
}

fn pack(tree: &str, out: &str, before: Option<&Path>) -> Result<String, Failure> {
    let effort = Effort { threads: 2, before };
    Ok(archives::pack(Path::new(tree), &base(), Path::new(out), effort)?.archive_sha256)
}

/// As a deployment does it: looks, knows what the backup before holds, copies.
fn backup_of(data: &str, out: &str, before: Option<&str>) -> Result<String, Failure> {
    let (data, shelf, exclude) = (Path::new(data), shelf(out), Exclude::default());
    let known = before.and_then(|before| backup::known(&self::shelf(before)));
    backup::survey(data, &exclude, known.as_ref())?;
    std::fs::create_dir_all(&shelf.data)
        .map_err(|error| Failure::new(commis::model::Code::Internal, format!("create {out}: {error}")))?;
    let made = backup::back_up(data, &shelf, (&exclude, UserIds::of(0)), known.as_ref())?;
    Ok(format!("{} files, {} bytes", made.files, made.bytes))
}

fn shelf(archive: &str) -> Shelf {
    let archive = Path::new(archive);
    Shelf { data: archive.join("data"), inventory: archive.join("data.list") }
}

/// The digest that stands beside an archive, as `sha256sum` writes it.
fn sum_beside(archive: &str) -> String {
    let text = std::fs::read_to_string(format!("{archive}.sha256")).unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn base() -> ManifestBase {
    ManifestBase {
        project: ProjectName::parse("bench").expect("a name"),
        version: ReleaseVersion(1),
        environment: None,
        commit: CommitId::parse(&"1".repeat(40)).expect("a commit"),
        pillar_commit: None,
        mode: Mode::Cooking,
        buildpacks: Vec::new(),
        processes: Default::default(),
    }
}
