//! Whether there is room: looked at by gather before any work, and hourly. What is decided about the numbers is in
//! `storage`.

use super::context::Context;
use super::execute::earlier_backup;
use super::trimming;
use crate::archives::backup::{self, Exclude};
use crate::layouts::ProjectPlaces;
use crate::model::{Code, Failure};
use crate::notify::words::size;
use crate::storage::enlarging::{self, Decision, Rules};
use crate::storage::fitting::{self, Makes, Misfit, Plan};
use crate::storage::{Meter, Usage};
use crate::store::ProjectRecord;
use crate::system::clock;
use crate::system::volumes::{self, Device, Volume};

/// What a deployment will write.
#[derive(Clone, Copy, Debug)]
pub struct Writes<'a> {
    pub tree: Usage,
    pub makes: Makes,
    /// Data is copied, but for these.
    pub backs_up: Option<&'a Exclude>,
}

/// Refuses what cannot fit, and says what people must know before the work begins.
///
/// # Errors
/// `DiskFull` with what is needed, what there is and what would help.
pub fn look(context: &Context, project: &ProjectRecord, writes: &Writes<'_>) -> Result<Vec<String>, Failure> {
    let places = context.project_places(&project.name);
    let data = data_of(context, project)?;
    let backup = writes.backs_up.map(|exclude| backup(&places, exclude)).transpose()?;
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

/// What a copy of `data/` will take: what changed since the last one, and only names where blocks are shared.
fn backup(places: &ProjectPlaces, exclude: &Exclude) -> Result<Usage, Failure> {
    let data = places.data();
    if !data.is_dir() {
        return Ok(Usage::default());
    }
    let survey = backup::survey(&data, exclude, earlier_backup(places)?.as_ref())?;
    let shared = volumes::shares_blocks(&data, &places.archives());
    Ok(Usage { bytes: if shared { 0 } else { survey.bytes }, inodes: survey.entries })
}

/// What is wrong with the room of a project, short of refusing to work.
pub fn warnings(context: &Context, project: &ProjectRecord, data: Usage) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    if let Some(limit) = project.disk_limit.filter(|limit| fitting::is_near(data.bytes, *limit)) {
        warnings.push(format!("data takes {} of its limit of {}", size(data.bytes), size(limit)));
    }
    let places = context.project_places(&project.name);
    let (volume, decision) = decide(context, &places)?;
    if let Decision::Leave(because) = decision
        && enlarging::is_low(&volume.space, &rules(context))
    {
        let free = size(volume.space.free);
        warnings.push(format!("only {free} free for data at {}: {}", volume.mounted.point.display(), because.words()));
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
    let what = match misfit {
        Misfit::Bytes { needs, has } => {
            format!("not enough room below {root}: needs {}, has {}", size(needs), size(has))
        }
        Misfit::Inodes { needs, has } => format!("not enough inodes below {root}: needs {needs}, has {has}"),
        Misfit::Limit { takes, limit } => {
            format!("data of {} takes {}, its limit is {}", project.name, size(takes), size(limit))
        }
    };
    let failure = Failure::new(Code::DiskFull, what);
    if let Misfit::Limit { .. } = misfit {
        return failure.hint(format!("raise it (commis disk limit {} SIZE), or remove data", project.name));
    }
    let surplus = trimming::candidates(context, project, clock::now()).unwrap_or_default();
    let freed: u64 = surplus.iter().map(|candidate| candidate.bytes).sum();
    let failure = failure.hint("free space on the server, then push again");
    if freed == 0 { failure } else { failure.hint(format!("commis disk trim {} frees {}", project.name, size(freed))) }
}
