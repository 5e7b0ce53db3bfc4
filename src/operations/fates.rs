//! What each ref of a push is to become, before anything is done: stored, deployed or refused. Pure.

use crate::git::refs::Change;
use crate::git::{PushCommand, Received};
use crate::model::words::is_near;
use crate::model::{Code, Failure, ProjectName, RefName, ReleaseVersion, Repository};
use crate::notify::{clean_line, words};
use crate::pipeline::OnEdits;

/// What a ref's fate is.
pub enum Fate {
    /// Kept as it was pushed; the hint says that nothing else comes of it.
    Store {
        change: Change,
        hint: Option<String>,
    },
    Deploy {
        change: Change,
    },
    Refuse(Failure),
}

impl Fate {
    /// The change of a ref that is only stored.
    pub fn change(&self) -> Option<&Change> {
        match self {
            Fate::Store { change, .. } => Some(change),
            Fate::Deploy { .. } | Fate::Refuse(_) => None,
        }
    }

    pub fn hint(&self) -> Option<&String> {
        match self {
            Fate::Store { hint, .. } => hint.as_ref(),
            Fate::Deploy { .. } | Fate::Refuse(_) => None,
        }
    }

    pub fn refusal(self) -> Option<Failure> {
        match self {
            Fate::Refuse(failure) => Some(failure),
            Fate::Store { .. } | Fate::Deploy { .. } => None,
        }
    }
}

/// What a push asked for besides its refs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PushOptions {
    pub patience: Patience,
    /// `-o release=v42`: which of a commit's releases, in mode final.
    pub release: Option<ReleaseVersion>,
    pub on_edits: OnEdits,
}

/// What to do when another deployment runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Patience {
    #[default]
    Queue,
    /// `-o no-wait`: refuse at once.
    Refuse,
}

/// Everything that `-o` understands.
const OPTIONS: [&str; 4] = ["no-wait", "stash", "commit", "release=v42"];

/// Things that concern a push as a whole.
pub fn acceptable(received: &Received, most: usize) -> Result<PushOptions, Failure> {
    if received.commands.len() > most {
        let what = format!("{} refs in one push, and at most {most} are taken", received.commands.len());
        return Err(Failure::new(Code::Refused, what).hint("push them in several goes"));
    }
    if let Some(failure) = &received.refusal {
        return Err(failure.clone());
    }
    let mut options = PushOptions::default();
    for option in &received.options {
        match option.as_str() {
            "no-wait" => options.patience = Patience::Refuse,
            "stash" => options.on_edits = OnEdits::Stash,
            "commit" => options.on_edits = OnEdits::Commit,
            other => options.release = Some(release_option(other)?),
        }
    }
    Ok(options)
}

fn release_option(option: &str) -> Result<ReleaseVersion, Failure> {
    let Some(value) = option.strip_prefix("release=") else { return Err(unknown_option(option)) };
    ReleaseVersion::parse(value).ok_or_else(|| {
        let shown = words::cut(&clean_line(value.as_bytes()), 40);
        Failure::new(Code::BadOption, format!("push option release: \"{shown}\" is not like v42"))
    })
}

fn unknown_option(option: &str) -> Failure {
    let failure = Failure::new(
        Code::BadOption,
        format!("unknown push option \"{}\"", words::cut(&clean_line(option.as_bytes()), 40)),
    );
    match OPTIONS.iter().find(|known| is_near(known, option)) {
        Some(known) => failure.hint(format!("did you mean \"{known}\"?")),
        None => failure.hint(format!("understood: {}", OPTIONS.join(", "))),
    }
}

/// What the refs of a push are judged by.
pub struct Asked<'a> {
    pub project: &'a ProjectName,
    pub repository: Repository,
    /// The branch that deploys, when this push or the repository has one.
    pub deploys: Option<&'a RefName>,
    /// `main or master`
    pub configured: &'a str,
    /// How the pusher begins a verb: `ssh -p 2222 commis@apps.example.com`.
    pub ssh: &'a str,
}

pub fn fate(asked: &Asked<'_>, command: &PushCommand) -> Fate {
    let name = match &command.name {
        Ok(name) => name.clone(),
        Err(raw) => {
            let shown = words::cut(&clean_line(raw.as_bytes()), 60);
            let what = format!("branches, tags and notes have names of plain letters and digits, not {shown}");
            return Fate::Refuse(Failure::new(Code::Refused, what));
        }
    };
    let is_deploy = asked.deploys == Some(&name);
    if is_deploy && command.new.is_zero() {
        let what = format!("{name} is what {} deploys from and cannot be deleted", asked.project);
        return Fate::Refuse(Failure::new(Code::Refused, what));
    }
    let hint = hint(asked, &name, command.new.is_zero());
    let change = (name, command.old.clone(), command.new.clone());
    if is_deploy { Fate::Deploy { change } } else { Fate::Store { change, hint } }
}

fn hint(asked: &Asked<'_>, name: &RefName, deleted: bool) -> Option<String> {
    let branch = name.branch().filter(|_| !deleted)?;
    Some(match (asked.repository, asked.deploys) {
        (Repository::Project, Some(deploys)) => {
            format!("hint: stored; only {} deploys here", deploys.branch().unwrap_or_default())
        }
        (Repository::Project, None) => {
            format!(
                "hint: stored, nothing deployed: {} deploys here\n       git push REMOTE {branch}:main",
                asked.configured
            )
        }
        (Repository::Pillar, _) => {
            format!(
                "hint: stored; it takes effect with the next deployment\n       {} deploy {}",
                asked.ssh, asked.project
            )
        }
    })
}
