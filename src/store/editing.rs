//! Rows about editing in place: which `run/` is edited, what it was brought to, and how far a deployment has come that
//! works in it. Each word is on disk before the effect it announces.

use super::{Result, Store, during};
use crate::model::{CommitId, DeploymentNumber, ProjectName, Remote};
use rusqlite::{OptionalExtension, params};

/// What a deployment does with the `run/` that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InPlace {
    /// It makes a release, which takes the place of `run/`.
    No,
    /// It makes the first tree that will be edited in place, which takes the place of `run/`.
    Fresh,
    /// It works in `run/`; `archives/<number>/run` is `run/` as it was.
    Saved,
    /// `run/` is being made again what it was.
    Restoring,
    Restored,
    /// It changes nothing in `run/`.
    Kept,
}

impl InPlace {
    pub(super) const ALL: [InPlace; 6] =
        [InPlace::No, InPlace::Fresh, InPlace::Saved, InPlace::Restoring, InPlace::Restored, InPlace::Kept];

    pub fn as_str(self) -> &'static str {
        match self {
            InPlace::No => "no",
            InPlace::Fresh => "fresh",
            InPlace::Saved => "saved",
            InPlace::Restoring => "restoring",
            InPlace::Restored => "restored",
            InPlace::Kept => "kept",
        }
    }
}

/// What a success means for the editing of `run/`, in the transaction that records it: another tree stands there now and
/// is edited (or not any more), or the same one is at another commit.
pub(super) const FINISH: &str = "UPDATE projects SET
        filled = CASE d.in_place WHEN 'no' THEN 0 WHEN 'fresh' THEN d.tree_inode ELSE filled END,
        edited_commit = CASE WHEN d.in_place = 'no' THEN NULL WHEN d.in_place = 'fresh' OR d.ref IS NOT NULL THEN d.commit_id
                             ELSE edited_commit END
    FROM deployments AS d WHERE projects.name = ?1 AND d.project = ?1 AND d.number = ?2";

/// Of what is edited in place only the live row is of use: what it runs, and with which variables.
pub(super) const FORGET: &str = "UPDATE releases SET pruned = 1, environment = '{}'
    WHERE project = ?1 AND file_name = '' AND version <> ?2";

impl Store {
    pub fn note_in_place(&self, project: &ProjectName, number: DeploymentNumber, word: InPlace) -> Result<()> {
        let statement = "UPDATE deployments SET in_place = ?3 WHERE project = ?1 AND number = ?2";
        let rows = self.lock().execute(statement, params![project.as_str(), number.0, word.as_str()]);
        rows.map(drop).map_err(during("note what is done in place"))
    }

    /// Whether the tree that a deployment replaced was edited in place: what the one that was live before it says.
    pub fn replaced_an_edited_tree(&self, project: &ProjectName, number: DeploymentNumber) -> Result<bool> {
        let before = "SELECT in_place FROM deployments
            WHERE project = ?1 AND number < ?2 AND status IN ('success', 'inactive') ORDER BY number DESC LIMIT 1";
        let word = self.lock().query_row(before, params![project.as_str(), number.0], |row| row.get::<_, String>(0));
        let word = word.optional().map_err(during("read what was edited"))?;
        Ok(word.is_some_and(|word| word != InPlace::No.as_str()))
    }

    /// The edits up to now are in this commit.
    pub fn set_edited(&self, project: &ProjectName, commit: &CommitId) -> Result<()> {
        let statement = "UPDATE projects SET edited_commit = ?2 WHERE name = ?1";
        let rows = self.lock().execute(statement, params![project.as_str(), commit.as_str()]);
        rows.map(drop).map_err(during("note what is edited"))
    }

    /// The commit of a deployment that has none of its own, once it is its turn.
    pub fn note_commit(
        &self,
        project: &ProjectName,
        number: DeploymentNumber,
        commit: Option<&CommitId>,
    ) -> Result<()> {
        let statement = "UPDATE deployments SET commit_id = ?3 WHERE project = ?1 AND number = ?2";
        let words = params![project.as_str(), number.0, commit.map(CommitId::as_str)];
        self.lock().execute(statement, words).map(drop).map_err(during("note what is deployed"))
    }

    /// A project gets its repositories; what stands in `run/`, if anything is edited there, is this commit.
    pub fn set_remote(&self, project: &ProjectName, remote: Remote, commit: Option<&CommitId>) -> Result<()> {
        let statement = "UPDATE projects SET remote = ?2, edited_commit = ?3 WHERE name = ?1";
        let with = params![project.as_str(), remote.as_str(), commit.map(CommitId::as_str)];
        self.lock().execute(statement, with).map(drop).map_err(during("note the repositories"))
    }
}
