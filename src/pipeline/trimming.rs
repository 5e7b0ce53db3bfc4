//! What of a project may go to make room, by the rules, with what it takes: looked at for warnings and for `disk trim`,
//! carried out by that and by housekeeping. Releases and archives are pruned by each deployment and are not here.

use super::context::Context;
use super::execute::{discard, make_directories};
use crate::layouts::ProjectPlaces;
use crate::model::{Failure, Time};
use crate::storage::Meter;
use crate::store::ProjectRecord;
use crate::system::reading;
use std::path::{Path, PathBuf};

/// Why something may go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Surplus {
    /// What did not work, and was kept long enough for a look.
    OldFailure,
    /// Half of something, or what was on its way out.
    Remains,
    /// Caches of builds: the next one is slower.
    Cache,
}

impl Surplus {
    pub fn words(self) -> &'static str {
        match self {
            Surplus::OldFailure => "failed",
            Surplus::Remains => "remains",
            Surplus::Cache => "cache",
        }
    }
}

/// Something that may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub path: PathBuf,
    pub surplus: Surplus,
    pub bytes: u64,
}

/// What of what did not work goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// What was kept for its days.
    WhenOld,
    /// All of it, by somebody's wish; what was put aside for people stays for its days.
    AtOnce,
}

const DAY: i64 = 86_400_000;

/// Looks.
pub fn candidates(
    context: &Context,
    project: &ProjectRecord,
    (now, failed): (Time, Failed),
) -> Result<Vec<Candidate>, Failure> {
    let places = context.project_places(&project.name);
    let days = context.config().archives.failed_days;
    let mut found = Vec::new();
    for name in reading::names(&places.archives())? {
        let path = places.archives().join(&name);
        let changed = reading::changed(&path)?;
        // Of a project that needs an admin everything is kept: one of these may be what puts it right.
        if project.trouble.is_none()
            && let Some(surplus) = of_archive(&name, changed, (now, days), failed)
        {
            found.push((path, surplus));
        }
    }
    let below = |directory: PathBuf, surplus: Surplus| -> Result<Vec<(PathBuf, Surplus)>, Failure> {
        let names = reading::names(&directory)?;
        Ok(names.into_iter().map(|name| (directory.join(name), surplus)).collect())
    };
    found.extend(below(places.trash(), Surplus::Remains)?);
    found.extend(below(places.cache(), Surplus::Cache)?);
    let mut meter = Meter::default();
    let measured = found.into_iter().map(|(path, surplus)| {
        let bytes = meter.measure(&path)?.bytes;
        Ok(Candidate { path, surplus, bytes })
    });
    measured.collect()
}

/// What failed trees that are not old take: [`Failed::AtOnce`] removes them too.
pub fn kept_failed(context: &Context, project: &ProjectRecord, now: Time) -> Result<u64, Failure> {
    let of =
        |failed| candidates(context, project, (now, failed)).map(|all| all.iter().map(|one| one.bytes).sum::<u64>());
    Ok(of(Failed::AtOnce)?.saturating_sub(of(Failed::WhenOld)?))
}

/// Pure: what of `archives/` may go.
fn of_archive(name: &str, changed: Time, (now, days): (Time, u32), failed: Failed) -> Option<Surplus> {
    if name.ends_with(".partial") {
        return Some(Surplus::Remains);
    }
    let days = if failed == Failed::AtOnce && name.ends_with(".failed") { 0 } else { days };
    let number = name.strip_suffix(".failed").or(name.strip_suffix(".left"))?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    // A clock that went back makes nothing old.
    let old = now.0.saturating_sub(changed.0) >= i64::from(days).saturating_mul(DAY);
    (is_number && old).then_some(Surplus::OldFailure)
}

/// Removes these, for the holder of the project's turn. An empty cache keeps its directories. What cannot go, for
/// instance because something is mounted there, stays and is told; the others go.
pub fn remove(context: &Context, project: &ProjectRecord, candidates: &[Candidate]) -> Vec<(PathBuf, Failure)> {
    let places = context.project_places(&project.name);
    let mut stayed = Vec::new();
    for candidate in candidates {
        if let Err(failure) = remove_one(&places, &candidate.path) {
            stayed.push((candidate.path.clone(), failure));
        }
    }
    if let Err(failure) = make_directories(project, &places, context.git.user) {
        stayed.push((places.root().to_owned(), failure));
    }
    stayed
}

fn remove_one(places: &ProjectPlaces, path: &Path) -> Result<(), Failure> {
    if path.starts_with(places.trash()) {
        return crate::trees::remove_tree(path);
    }
    discard(places, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_trees_go_after_their_days_and_backups_never_here() {
        let week = |name: &str, age_days: i64| of_archive(name, Time(0), (Time(age_days * DAY), 7), Failed::WhenOld);
        assert_eq!(week("42.failed", 7), Some(Surplus::OldFailure));
        assert_eq!([week("42.left", 7), week("42.left", 6)], [Some(Surplus::OldFailure), None]);
        assert_eq!(week("42.failed", 6), None);
        assert_eq!(week("42.failed", -400), None, "the clock went back");
        assert_eq!(week("42.partial", 0), Some(Surplus::Remains));
        for kept in ["42", "notes.failed", ".failed", "failed"] {
            assert_eq!(week(kept, 1_000), None, "{kept}");
        }
        assert_eq!(
            of_archive("1.failed", Time(5), (Time(5), 0), Failed::WhenOld),
            Some(Surplus::OldFailure),
            "no days: at once"
        );
    }

    #[test]
    fn what_failed_goes_at_once_when_it_is_asked_for_and_what_was_put_aside_for_people_stays() {
        let asked = |name: &str| of_archive(name, Time(5), (Time(5), 7), Failed::AtOnce);
        assert_eq!(asked("42.failed"), Some(Surplus::OldFailure));
        assert_eq!([asked("42.left"), asked("42"), asked("notes.failed")], [None; 3]);
    }
}
