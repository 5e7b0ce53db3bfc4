//! The closed list of everything that a deployment may do to the machine. Pure.
//!
//! To add a step: a variant here with its words, its place in a recipe of `phases/`, its arm in `execute.rs`, what
//! undoes it in `rollback.rs`, and the golden plans in `tests/plans/`.

use crate::hooks::Hook;
use std::fmt;

/// One thing that a deployment does. Steps name places, not values: what is in a place is read when it is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Make what is missing of the project's directories, with their owners.
    PrepareDirectories,
    /// `build/` becomes empty; the environment directory and the common tree are written.
    WipeBuild,
    /// The commit's tree is written into `build/`, by us, file by file.
    Checkout,
    /// A hook of the project runs as its user.
    Hook(Hook),
    /// The chosen buildpack's `bin/compile` runs in `build/`.
    Compile,
    /// `build/` becomes a release archive with its digest.
    Pack,
    /// The commit's tree becomes a release archive as it is: nothing runs in between.
    PackCommit,
    /// The archive becomes a tree below `deploy/`, verified against the manifest.
    Unpack,
    /// The tree of the release, kept since it was replaced, goes below `deploy/`; it is compared after the verdict.
    Take,
    /// The `release:` line of the Procfile runs in the new tree.
    ReleaseCommand,
    /// The branch's new value is prepared: its lock is held and its old value checked.
    PrepareRef,
    /// `run/` and the new tree change places.
    Exchange,
    /// The processes of the new tree start, beside the old ones.
    Start,
    /// They answer their health check.
    Check,
    /// The router sends requests to them.
    Route,
    /// The branch takes its new value.
    MoveRef,
    /// The file system of `data/` becomes larger, when it is low and can.
    Enlarge,
    /// Owners and modes of the project's directories and of `data/` are put right.
    FixPermissions,
    /// What `data/` holds, and what the hook `backup` wrote, becomes `archives/<n>`.
    BackUp,
    /// A copy of a backup of `data/` is made, to take its place.
    CopyData(Archive),
    /// The router sends no more requests, and the processes that serve stop: data is going to change.
    StopOld,
    /// The copy takes the place of `data/`; what was written since is put aside.
    RestoreData(Archive),

    /// The files of a release come from the server that cooked it.
    Fetch,
    /// A release from elsewhere proves what it is: signature, digest, name, policy. What comes in goes to the shelf.
    VerifyRelease,

    /// Undo of `Route`.
    RouteBack,
    /// Undo of `Start`.
    StopNew,
    /// Undo of `Exchange`.
    ExchangeBack,
    /// The tree that did not work goes to `archives/<n>.failed`.
    KeepFailed,
    /// The previous release runs; starts what of it does not.
    StartOld,
    /// The previous release answers its health check.
    CheckOld,
    /// Undo of `Take`: the tree is kept again where it was.
    PutBack,
    /// Undo of `Unpack` when nothing of the tree ever ran.
    DiscardTree,
    /// Undo of `BackUp`, when data is as it was.
    DiscardBackup,
    /// Undo of `Pack`: the archive of a release that was never live.
    DiscardRelease,
    /// Undo of `WipeBuild`, `Checkout` and all that wrote below `build/`.
    CleanBuild,

    /// What is done in and for the tree that people edit, or undone there.
    Edit(Edit),
}

/// Which backup is put back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Archive {
    /// The one that this deployment made.
    Own,
    /// The one that a rollback was asked to put back.
    Asked,
}

/// A step of a deployment in place: see [`Step::Edit`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Edit {
    /// The tree that will be edited in place is made below `deploy/`: from the commit, or from what stands in `project/`.
    Fill,
    /// What was edited is committed on a branch of its own.
    KeepEdits,
    /// `run/` is copied to `archives/<n>/run`.
    Snapshot,
    /// The files of the commit are written into `run/`, those that differ.
    Apply,
    /// What the build left in the tree besides the commit is written down.
    ListBuilt,
    /// What the tree runs is written down; there is no archive of it.
    Describe,
    /// `run/` stays where it is. From here on nobody cancels.
    Stay,
    /// What stood in `project/` is put into `archives/<n>`.
    Empty,
    /// `run/` is seen at `project/` too.
    Bind,
    /// Undo of `Bind`.
    Unbind,
    /// Undo of `Empty`.
    Refill,
    /// Undo of all that wrote into `run/`.
    RestoreRun,
}

impl Edit {
    fn name(self) -> &'static str {
        match self {
            Edit::Fill => "fill",
            Edit::KeepEdits => "keep-edits",
            Edit::Snapshot => "snapshot",
            Edit::Apply => "apply",
            Edit::ListBuilt => "list-built",
            Edit::Describe => "describe",
            Edit::Stay => "stay",
            Edit::Empty => "empty",
            Edit::Bind => "bind",
            Edit::Unbind => "unbind",
            Edit::Refill => "refill",
            Edit::RestoreRun => "restore-run",
        }
    }
}

impl Step {
    /// The name in journals and records.
    pub fn name(self) -> &'static str {
        match self {
            Step::PrepareDirectories => "prepare-directories",
            Step::WipeBuild => "wipe-build",
            Step::Checkout => "checkout",
            Step::Hook(hook) => hook.name(),
            Step::Compile => "compile",
            Step::Pack => "pack",
            Step::PackCommit => "pack-commit",
            Step::Unpack => "unpack",
            Step::Take => "take",
            Step::ReleaseCommand => "release-command",
            Step::PrepareRef => "prepare-ref",
            Step::Exchange => "exchange",
            Step::Start => "start",
            Step::Check => "check",
            Step::Route => "route",
            Step::MoveRef => "move-ref",
            Step::Enlarge => "enlarge",
            Step::FixPermissions => "fix-permissions",
            Step::BackUp => "back-up",
            Step::CopyData(_) => "copy-data",
            Step::StopOld => "stop-old",
            Step::RestoreData(_) => "restore-data",
            Step::Fetch => "fetch",
            Step::VerifyRelease => "verify-release",
            Step::RouteBack => "route-back",
            Step::StopNew => "stop-new",
            Step::ExchangeBack => "exchange-back",
            Step::KeepFailed => "keep-failed",
            Step::StartOld => "start-old",
            Step::CheckOld => "check-old",
            Step::PutBack => "put-back",
            Step::DiscardTree => "discard-tree",
            Step::DiscardBackup => "discard-backup",
            Step::DiscardRelease => "discard-release",
            Step::CleanBuild => "clean-build",
            Step::Edit(edit) => edit.name(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Hook(hook) => write!(f, "hook {}", hook.name()),
            Step::CopyData(Archive::Asked) | Step::RestoreData(Archive::Asked) => write!(f, "{} as asked", self.name()),
            other => f.write_str(other.name()),
        }
    }
}
