//! Answers as people read them: plain columns, worst news first, no colours. Pure.
//!
//! The JSON form is the record itself.

use super::columns::{moment, or_empty, table};
use super::show_disks as disks;
use super::show_edits as edits;
use super::show_processes as processes;
use super::show_rescue as rescue;
use super::show_tasks as tasks;
use crate::notify::clean_line;
use crate::operations::records::{Artifact, Check, Deployment, Key, Project, Release, ReleaseHead, Reply};
use crate::operations::records::{Retained, Status, Variable, VerifiedRelease};
use std::fmt::Write;

/// The text for standard output; ends with a line break unless it is empty.
pub fn human(reply: &Reply) -> String {
    match reply {
        Reply::Deployment(deployment) => one_deployment(deployment),
        Reply::Project(project) => one_project(project),
        Reply::Projects { projects } => {
            or_empty(projects.iter().map(project_row).collect(), "no projects yet: commis project create NAME")
        }
        Reply::Keys { keys } => or_empty(keys.iter().map(key_row).collect(), "no keys"),
        Reply::Releases { releases } => or_empty(releases.iter().map(release_row).collect(), "no release is kept"),
        // Also read by shells: nothing is nothing.
        Reply::Config { variables, .. } => table(variables.iter().map(variable_row).collect()),
        Reply::Doctor { checks } => table(checks.iter().map(check_row).collect()),
        Reply::Status(status) => whole_status(status),
        Reply::Verified(release) => verified(release),
        Reply::Signer(signer) => format!("{}\n", signer.allowed_signers),
        Reply::Retention { retained, total, .. } => {
            let words = if *total == 0 { "no release is kept" } else { "every release stays" };
            or_empty(retained.iter().map(retained_row).collect(), words)
        }
        Reply::ReleaseHead(head) => one_head(head),
        Reply::Diff(diff) => edits::whole_diff(diff),
        Reply::HostKey { known_hosts, .. } => format!("{known_hosts}\n"),
        Reply::Done { done, .. } => format!("{done}\n"),
        Reply::Disk(disk) => disks::disk(disk),
        Reply::Trimmed { trimmed, bytes, failed_bytes, dry_run } => {
            disks::trimmed(trimmed, (*bytes, *failed_bytes), *dry_run)
        }
        Reply::Fixed { project, changed, left_alone } => disks::fixed(project, *changed, left_alone),
        Reply::Trash { destroyed } => disks::trash(destroyed),
        Reply::Ps(found) => processes::ps(found),
        Reply::Domains { domains } => processes::domains(domains),
        Reply::Rescue(found) => rescue::text(found),
        Reply::Tasks { tasks, .. } => tasks::list(tasks),
        Reply::TaskRun(_) | Reply::Ended { .. } | Reply::Nothing {} => String::new(),
    }
}

fn variable_row(variable: &Variable) -> Vec<String> {
    match &variable.value {
        Some(value) => vec![format!("{}={value}", variable.name)],
        None => vec![variable.name.clone()],
    }
}

fn key_row(key: &Key) -> Vec<String> {
    vec![key.name.clone(), key.rank.clone(), key.fingerprint.clone(), key.projects.join(","), key.rights.join(",")]
}

fn one_deployment(deployment: &Deployment) -> String {
    let mut out = String::new();
    let commit = deployment.commit.as_deref().map_or("-", |commit| commit.get(..7).unwrap_or(commit));
    let _ = writeln!(
        out,
        "{} #{}  {}  {} \"{}\" by {}",
        deployment.project, deployment.id, deployment.status, commit, deployment.subject, deployment.actor
    );
    if let (Some(code), Some(reason)) = (&deployment.reason_code, &deployment.reason) {
        let _ = writeln!(out, "  {code}: {reason}");
    }
    if let Some(release) = &deployment.release {
        let _ = writeln!(out, "  release {release}");
    }
    if let Some(seconds) = deployment.seconds {
        let _ = writeln!(out, "  took {seconds:.1} s");
    }
    let rows = deployment
        .steps
        .iter()
        .map(|step| {
            let seconds = format!("{:.3} s", step.seconds);
            vec![format!("  {}", step.phase), step.name.clone(), step.status.clone(), seconds, step.note.clone()]
        })
        .collect();
    out + &table(rows)
}

fn one_project(project: &Project) -> String {
    let mut out = String::new();
    let live = project.live.as_deref().unwrap_or("nothing live yet");
    let _ = writeln!(out, "{}  {live}  {}  {}", project.project, project.mode, project.url);
    if let Some(trouble) = &project.trouble {
        let _ = writeln!(out, "error: needs an admin: {trouble}");
    }
    match &project.remote {
        Some(remote) => {
            let _ = writeln!(out, "  push to {remote}");
        }
        None => out.push_str("  remote-less\n"),
    }
    if let Some(place) = &project.edited_in {
        let _ = writeln!(out, "  edited in {place}");
    }
    for process in &project.processes {
        let _ = writeln!(out, "  {}  {}  {} restarts", process.process, process.state, process.restarts);
    }
    let rows = project.deployments.iter().map(deployment_row).collect();
    out + &table(rows)
}

fn one_head(head: &ReleaseHead) -> String {
    let tested = head.tested_at.as_deref().map_or("never live".to_owned(), |at| format!("live {}", moment(at)));
    let commit = head.commit.get(..7).unwrap_or(&head.commit);
    let mut out = format!("{} {}  {commit}  cooked in {}, {tested}\n", head.project, head.release, head.environment);
    let row = |file: &Artifact| vec![format!("  {}", file.sha256), file.name.clone(), file.size.to_string()];
    out.push_str(&table(head.artifacts.iter().map(row).collect()));
    out
}

fn deployment_row(deployment: &Deployment) -> Vec<String> {
    vec![
        format!("  #{}", deployment.id),
        deployment.status.clone(),
        deployment.release.clone().unwrap_or_else(|| "-".into()),
        deployment.commit.as_deref().map_or("-", |commit| commit.get(..7).unwrap_or(commit)).to_owned(),
        deployment.actor.clone(),
        deployment.reason_code.clone().unwrap_or_default(),
        deployment.subject.clone(),
    ]
}

fn project_row(project: &Project) -> Vec<String> {
    let state = match (&project.trouble, &project.live) {
        (Some(_), _) => "needs an admin".to_owned(),
        (None, Some(live)) => live.clone(),
        (None, None) => "-".to_owned(),
    };
    vec![project.project.clone(), state, project.mode.clone(), project.url.clone()]
}

fn release_row(release: &Release) -> Vec<String> {
    let standing = match (release.live, release.was_live) {
        (true, _) => "live",
        (false, true) => "was live",
        (false, false) => "never live",
    };
    let commit = release.commit.get(..7).unwrap_or(&release.commit).to_owned();
    let size = crate::notify::words::size(release.archive.size);
    let signed = release.signed_by.as_ref().map_or("unsigned".to_owned(), |signer| format!("signed by {signer}"));
    let backup = release.backup.as_ref().map_or(String::new(), |backup| {
        format!("data of {} {}", moment(&backup.at), crate::notify::words::size(backup.size))
    });
    let pinned = if release.pinned { "pinned" } else { "" };
    vec![
        release.release.clone(),
        standing.to_owned(),
        commit,
        size,
        moment(&release.created_at),
        release.rollback.clone(),
        release.origin.clone(),
        signed,
        backup,
        pinned.to_owned(),
    ]
}

fn verified(release: &VerifiedRelease) -> String {
    let live = release.live_at.as_ref().map_or("never live".to_owned(), |at| format!("live {}", moment(at)));
    format!(
        "{} {}  verified  {}  sha256:{}\n  signed by {} ({})  {live}\n  {} files, {}\n",
        release.project,
        release.release,
        crate::notify::words::size(release.size),
        release.sha256,
        release.environment,
        release.signer,
        release.files,
        crate::notify::words::size(release.bytes),
    )
}

fn retained_row(retained: &Retained) -> Vec<String> {
    let goes = match &retained.goes {
        Some(when) => format!("goes: {when}"),
        None => "stays".to_owned(),
    };
    vec![retained.release.clone(), crate::notify::words::size(retained.size), goes, retained.because.clone()]
}

fn check_row(check: &Check) -> Vec<String> {
    vec![check.verdict.clone(), check.check.clone(), check.found.clone()]
}

fn whole_status(status: &Status) -> String {
    let mut out = format!(
        "commis {} {}   {} live of {} projects   {} need an admin   {} free\n  ssh {}   http {}\n",
        status.version,
        status.platform,
        status.live,
        status.projects,
        status.need_admin,
        crate::notify::words::size(status.free_bytes),
        status.ssh,
        status.http,
    );
    for deploying in &status.deploying {
        let _ = writeln!(out, "  {deploying}");
    }
    if let Some(round) = &status.housekeeping {
        let _ = writeln!(out, "  housekeeping {}", moment(&round.at));
        for warning in &round.warnings {
            let _ = writeln!(out, "  warning: {}", clean_line(warning.as_bytes()));
        }
    }
    out
}
