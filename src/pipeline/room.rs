//! Whether there is room: looked at by gather before any work, and hourly. What is decided about the numbers is in
//! `storage`.

use super::context::Context;
use super::execute::earlier_backup;
use super::trimming::{self, Failed};
use crate::backups::backup::{self, Exclude, Survey};
use crate::layouts::ProjectPlaces;
use crate::model::{Code, Failure};
use crate::notify::words::size;
use crate::storage::enlarging::{self, Decision, Rules};
use crate::storage::fitting::{self, Makes, Misfit, Need, Plan};
use crate::storage::{Meter, Usage};
use crate::store::ProjectRecord;
use crate::system::clock;
use crate::system::volumes::{self, Device, Volume};
use std::path::Path;

/// What a deployment will write.
#[derive(Clone, Copy, Debug)]
pub struct Writes<'a> {
    pub tree: Usage,
    pub makes: Makes,
    pub copies: Copies<'a>,
}

/// Copies of data, but for what is excluded.
#[derive(Clone, Copy, Debug)]
pub enum Copies<'a> {
    None,
    /// It is kept, and nothing that is known yet will change it.
    Backup(&'a Exclude),
    /// It is kept and then changed: undoing that takes one copy more.
    BackupAndReturn(&'a Exclude),
}

/// Refuses what cannot fit, and says what people must know before the work begins.
///
/// # Errors
/// `DiskFull` with what is needed, what there is and what would help.
pub fn look(context: &Context, project: &ProjectRecord, writes: &Writes<'_>) -> Result<Vec<String>, Failure> {
    let places = context.project_places(&project.name);
    let data = data_of(context, project)?;
    let backup = copies(&places, writes.copies)?;
    let need = fitting::need(&Plan { tree: writes.tree, makes: writes.makes, backup });
    let space = volumes::space(places.root())?;
    // The way back is open also to a project that takes too much.
    let limit = project.disk_limit.filter(|_| writes.makes != Makes::Tree);
    fitting::fits(&need, &space, (data.bytes, limit)).map_err(|misfit| refusal(context, project, misfit))?;
    warnings(context, project, data)
}

/// What its data takes, when somebody set a limit to it: a walk through all of it.
pub fn data_of(context: &Context, project: &ProjectRecord) -> Result<Usage, Failure> {
    match project.disk_limit {
        Some(_) => Meter::default().measure(&context.project_places(&project.name).data()),
        None => Ok(Usage::default()),
    }
}

/// What copies of `data/` will take: of a backup what changed since the last one, and only names where blocks are shared.
fn copies(places: &ProjectPlaces, copies: Copies<'_>) -> Result<Option<Usage>, Failure> {
    let data = places.data();
    let (Copies::Backup(exclude) | Copies::BackupAndReturn(exclude)) = copies else { return Ok(None) };
    if !data.is_dir() {
        return Ok(None);
    }
    let survey = backup::survey(&data, exclude, earlier_backup(places)?.as_ref())?;
    let shared = volumes::shares_blocks(&data, &places.archives());
    let of = |bytes: u64| Usage { bytes: if shared { 0 } else { bytes }, inodes: survey.entries };
    let (backup, back) = (of(survey.bytes), of(survey.whole));
    Ok(Some(match copies {
        Copies::None | Copies::Backup(_) => backup,
        Copies::BackupAndReturn(_) => {
            Usage { bytes: backup.bytes.saturating_add(back.bytes), inodes: backup.inodes.saturating_add(back.inodes) }
        }
    }))
}

/// Whether a copy of data fits where it is to be made: with a fifth to spare, since data grows meanwhile.
///
/// # Errors
/// `DiskFull`: no room to do `what`, with what it needs and what there is.
pub fn copy_fits(survey: &Survey, place: &Path, what: &str) -> Result<(), Failure> {
    let room = backup::needed(survey, place);
    let need = Need { bytes: room.bytes, inodes: room.inodes };
    fitting::fits(&need, &volumes::space(place)?, (0, None)).map_err(|misfit| {
        let (of, numbers) = numbers(misfit);
        Failure::new(Code::DiskFull, format!("no {of} to {what}: {numbers}")).hint("free space on the server")
    })
}

/// What is wrong with the room of a project, short of refusing to work.
pub fn warnings(context: &Context, project: &ProjectRecord, data: Usage) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    if let Some(limit) = project.disk_limit.filter(|limit| fitting::is_near(data.bytes, *limit)) {
        warnings.push(format!("data takes {} of its limit of {}", size(data.bytes), size(limit)));
    }
    let places = context.project_places(&project.name);
    let (volume, decision) = decide(context, &places)?;
    if enlarging::is_low(&volume.space, &rules(context)) {
        let (free, point) = (size(volume.space.free), volume.mounted.point.display());
        let what = match decision {
            Decision::Leave(because) => because.words(),
            Decision::Enlarge { .. } => "the next deployment enlarges it",
        };
        warnings.push(format!("only {free} free for data at {point}: {what}"));
    }
    Ok(warnings)
}

/// Whether the file system of `data/` should be larger.
pub fn decide(context: &Context, places: &ProjectPlaces) -> Result<(Volume, Decision), Failure> {
    let data = places.data();
    let volume = volumes::of(if data.is_dir() { &data } else { places.root() })?;
    let root = places.root().canonicalize().unwrap_or_else(|_| places.root().to_owned());
    let own = volume.mounted.point.starts_with(root);
    let below = match &volume.device {
        Device::Loop { file, .. } => file.parent().and_then(|parent| volumes::space(parent).ok()),
        Device::Other => None,
    };
    let decision = enlarging::decide(&volume, &rules(context), own, below.as_ref());
    Ok((volume, decision))
}

fn rules(context: &Context) -> Rules {
    let storage = &context.config().storage;
    Rules { low: storage.low, step: storage.step, max: storage.max }
}

fn refusal(context: &Context, project: &ProjectRecord, misfit: Misfit) -> Failure {
    let places = context.project_places(&project.name);
    let root = places.root().display();
    let what = match (misfit, numbers(misfit)) {
        (Misfit::Limit { .. }, (_, numbers)) => format!("data of {} {numbers}", project.name),
        (Misfit::Bytes { .. } | Misfit::Inodes { .. }, (of, numbers)) => {
            format!("not enough {of} below {root}: {numbers}")
        }
    };
    let failure = Failure::new(Code::DiskFull, what);
    if let Misfit::Limit { .. } = misfit {
        return failure.hint(format!("raise it (commis disk limit {} SIZE), or remove data", project.name));
    }
    let surplus = trimming::candidates(context, project, (clock::now(), Failed::WhenOld)).unwrap_or_default();
    let freed: u64 = surplus.iter().map(|candidate| candidate.bytes).sum();
    let failure = failure.hint("free space on the server, then push again");
    let failure = if freed == 0 {
        failure
    } else {
        failure.hint(format!("commis disk trim {} frees {}", project.name, size(freed)))
    };
    let failed = trimming::kept_failed(context, project, clock::now()).unwrap_or_default();
    let name = &project.name;
    if failed == 0 { failure } else { failure.hint(format!("commis disk trim {name} --failed frees {}", size(failed))) }
}

/// What is short, and by how much: `("room", "needs 2 GB, has 1 GB")`
fn numbers(misfit: Misfit) -> (&'static str, String) {
    match misfit {
        Misfit::Bytes { needs, has } => ("room", format!("needs {}, has {}", size(needs), size(has))),
        Misfit::Inodes { needs, has } => ("inodes", format!("needs {needs}, has {has}")),
        Misfit::Limit { takes, limit } => ("room", format!("takes {}, its limit is {}", size(takes), size(limit))),
    }
}
