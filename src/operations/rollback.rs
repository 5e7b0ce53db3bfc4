//! `rollback`: which release is meant, what of data goes with it, and what must be said first. The deployment itself is one
//! like any other.

use super::Platform;
use super::authorize::Action;
use super::deploy::Wish;
use super::records::Reply;
use super::{Talk, records};
use crate::model::{Actor, Code, DeploymentNumber, Failure, ReleaseVersion, RollbackClass, Trigger};
use crate::pipeline::standing::may_go_back;
use crate::pipeline::{Goal, Manner, OnUnkept};
use crate::store::{ProjectRecord, ReleaseRecord};
use crate::system::clock;
use crate::verbs::RollbackWords;

/// What shall become of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DataWish {
    /// Nothing was said.
    Unsaid,
    /// As it was when the release was replaced.
    WithData,
    /// It stays as it is.
    CodeOnly,
}

/// Whether a release may be left that says that there is no way back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Force {
    No,
    Yes,
}

impl DataWish {
    fn of(words: &RollbackWords) -> Self {
        match (words.with_data, words.code_only) {
            (true, _) => DataWish::WithData,
            (false, true) => DataWish::CodeOnly,
            (false, false) => DataWish::Unsaid,
        }
    }
}

impl Platform {
    pub(super) async fn rollback(&self, actor: &Actor, words: &RollbackWords, talk: &Talk) -> Result<Reply, Failure> {
        let name = words.project.as_str();
        let (data, force) = (DataWish::of(words), if words.force { Force::Yes } else { Force::No });
        let project = self.project(actor, Action::Deploy, name)?;
        may_go_back(&project)?;
        super::deploy::free_of_trouble(&project, Trigger::Rollback)?;
        let target = self.rollback_target(&project, words.release.as_deref())?;
        let replaced_by = self.ended_by(&project, &target)?;
        let left = self.left_behind(&project, replaced_by)?;
        let backup = replaced_by.map(|number| self.backup_of(&project, number)).transpose()?.flatten();
        let asked = Leaving { project: name, target: target.version, left: &left, backup: backup.as_ref() };
        may_leave(&asked, data, force)?;
        let with_data = match data {
            DataWish::WithData => Some(needed_backup(&asked, replaced_by)?),
            DataWish::Unsaid | DataWish::CodeOnly => None,
        };
        let goal = Goal::Release(target.version);
        let on_unkept = if data == DataWish::CodeOnly { OnUnkept::GoOn } else { OnUnkept::Refuse };
        let manner = Manner { on_unkept, ..Manner::default() };
        let handle = self.launch(actor, Wish { project, trigger: Trigger::Rollback, goal, with_data, manner })?;
        self.follow(name, handle, talk).await
    }

    /// The release that a rollback means: the ledger says, never a directory listing.
    fn rollback_target(&self, project: &ProjectRecord, asked: Option<&str>) -> Result<ReleaseRecord, Failure> {
        let kept = self.context.store.releases(&project.name)?;
        let list = format!("commis releases {}", project.name);
        if let Some(asked) = asked {
            let version = ReleaseVersion::parse(asked)
                .ok_or_else(|| Failure::new(Code::Usage, "a release is named like v41").hint(&list))?;
            let found = kept.into_iter().find(|release| release.version == version).ok_or_else(|| {
                Failure::new(Code::NotFound, format!("no release {version} of {} is kept", project.name)).hint(&list)
            })?;
            // Whether it may come to life here at all is settled by promoting it.
            if found.is_from_elsewhere() && found.served.is_none() {
                let what = format!("{version} was never live here: there is no way back to it");
                let next = format!("deploy it: commis promote {} {version}", project.name);
                return Err(Failure::new(Code::Refused, what).hint(next));
            }
            return Ok(found);
        }
        let live = project.live;
        let earlier =
            kept.into_iter().find(|release| release.served.is_some() && live.is_none_or(|live| release.version < live));
        earlier.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("{} has no earlier release that was live", project.name)).hint(&list)
        })
    }

    /// The deployment that ended a release's time.
    pub(super) fn ended_by(
        &self,
        project: &ProjectRecord,
        release: &ReleaseRecord,
    ) -> Result<Option<DeploymentNumber>, Failure> {
        let Some(served) = release.served else { return Ok(None) };
        Ok(self.context.store.successor(&project.name, served)?)
    }

    /// Data as it was when a release was replaced, when that is kept.
    pub(super) fn backup_at_end(&self, project: &ProjectRecord, release: &ReleaseRecord) -> Option<records::Backup> {
        let ended_by = self.ended_by(project, release).ok().flatten()?;
        self.backup_of(project, ended_by).ok().flatten()
    }

    /// What the releases say that a rollback leaves: all that were live since, or the live one alone.
    fn left_behind(
        &self,
        project: &ProjectRecord,
        since: Option<DeploymentNumber>,
    ) -> Result<Vec<(ReleaseVersion, RollbackClass)>, Failure> {
        if let Some(since) = since {
            return Ok(self.context.store.classes_since(&project.name, since)?);
        }
        let live =
            project.live.map(|version| self.context.store.release(&project.name, version)).transpose()?.flatten();
        Ok(live.map(|live| (live.version, live.rollback)).into_iter().collect())
    }

    /// The backup that a deployment made, when it is kept.
    pub(super) fn backup_of(
        &self,
        project: &ProjectRecord,
        number: DeploymentNumber,
    ) -> Result<Option<records::Backup>, Failure> {
        let row = self.context.store.deployment(&project.name, number)?;
        Ok(row.filter(|row| row.data.backup.is_whole()).and_then(|row| {
            let at = row.data.backup_at?;
            Some(records::Backup { deployment: number.0, at: clock::rfc3339(at), size: row.data.backup_bytes })
        }))
    }
}

/// What decides whether releases may be left.
struct Leaving<'a> {
    project: &'a str,
    target: ReleaseVersion,
    left: &'a [(ReleaseVersion, RollbackClass)],
    backup: Option<&'a records::Backup>,
}

/// Pure.
fn may_leave(asked: &Leaving<'_>, data: DataWish, force: Force) -> Result<(), Failure> {
    let of = |class: RollbackClass| asked.left.iter().find(|(_, said)| *said == class).map(|(version, _)| *version);
    let command = format!("commis rollback {} {}", asked.project, asked.target);
    if let (Some(version), Force::No) = (of(RollbackClass::Forbidden), force) {
        let what = format!("{version} says that there is no way back from it: rollback is forbidden");
        return Err(Failure::new(Code::Refused, what).hint(format!("if you know better: {command} --force")));
    }
    let (Some(version), DataWish::Unsaid) = (of(RollbackClass::CodeAndData), data) else { return Ok(()) };
    let what = format!("{version} may have changed data: say whether data goes back with the code");
    let failure = Failure::new(Code::Refused, what);
    let failure = match asked.backup {
        Some(backup) => failure.hint(format!("{command} --with-data takes data as it was at {}", backup.at)),
        None => failure.hint(format!("{command} --with-data cannot be: no backup of that time is kept")),
    };
    Err(failure.hint(format!("{command} --code-only leaves data as it is")))
}

fn needed_backup(asked: &Leaving<'_>, replaced_by: Option<DeploymentNumber>) -> Result<DeploymentNumber, Failure> {
    let hint = format!("commis releases {}", asked.project);
    let Some(number) = replaced_by else {
        let what = format!("{} was never replaced: there is no data of before", asked.target);
        return Err(Failure::new(Code::NotFound, what).hint(hint));
    };
    match asked.backup {
        Some(_) => Ok(number),
        None => {
            let what = format!("no backup of data is kept from when {number} replaced {}", asked.target);
            Err(Failure::new(Code::NotFound, what).hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(left: &[(u32, RollbackClass)], data: DataWish, force: Force) -> Result<(), Failure> {
        let left: Vec<_> = left.iter().map(|(number, class)| (ReleaseVersion(*number), *class)).collect();
        let backup = records::Backup { deployment: 42, at: "10:41".into(), size: 1 };
        let asked = Leaving { project: "blog", target: ReleaseVersion(41), left: &left, backup: Some(&backup) };
        may_leave(&asked, data, force)
    }

    #[test]
    fn every_release_that_is_left_is_asked_not_only_the_live_one() {
        use RollbackClass::{Code as Plain, CodeAndData, Forbidden};
        assert_eq!(leave(&[(42, Plain), (43, Plain)], DataWish::Unsaid, Force::No), Ok(()));
        let failure = leave(&[(42, CodeAndData), (43, Plain)], DataWish::Unsaid, Force::No).unwrap_err();
        assert!(failure.what.starts_with("v42 may have changed data"), "{failure}");
        assert_eq!(
            failure.hints,
            [
                "commis rollback blog v41 --with-data takes data as it was at 10:41",
                "commis rollback blog v41 --code-only leaves data as it is"
            ]
        );
        for data in [DataWish::WithData, DataWish::CodeOnly] {
            assert_eq!(leave(&[(42, CodeAndData)], data, Force::No), Ok(()));
            assert!(leave(&[(42, Forbidden), (43, Plain)], data, Force::No).is_err());
            assert_eq!(leave(&[(42, Forbidden)], data, Force::Yes), Ok(()));
        }
    }
}
