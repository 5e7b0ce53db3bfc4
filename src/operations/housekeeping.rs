//! What the server does by itself for every project: owners and modes are put right, what may go goes, limits are
//! compared, the trash is purged on its day. A project that is busy is left for the next round.

use super::Platform;
use super::records::Round;
use crate::model::{Failure, Time};
use crate::notify::words;
use crate::pipeline::permissions::{self, Extent};
use crate::pipeline::room;
use crate::pipeline::trimming::{self, Failed, Surplus};
use crate::storage::limits;
use crate::store::ProjectRecord;
use crate::system::clock::{self, rfc3339};
use std::time::Duration;

/// Under these names the store keeps when the last round was, in milliseconds, and what it came to.
const LAST: (&str, &str) = ("housekeeping_at", "housekeeping");
/// How often the clock is looked at: a new configuration, and a clock that was set, are noticed in time.
const GLANCE: Duration = Duration::from_secs(30);

/// When the next round is. Pure. A round that was never held, and one that lies in the future because the clock went
/// back, counts from now.
pub(super) fn due_in(last: Option<Time>, now: Time, every: Duration) -> Duration {
    let Some(last) = last.filter(|last| *last <= now) else { return every };
    every.saturating_sub(Duration::from_millis(now.0.abs_diff(last.0)))
}

impl Platform {
    /// Keeps house until the server ends.
    pub async fn keep_house(self) {
        let mut last = self.last_round();
        if last.is_none_or(|last| last > clock::now()) {
            last = Some(clock::now());
        }
        loop {
            let every = self.context.config().housekeeping.every;
            let wait = due_in(last, clock::now(), every);
            if !wait.is_zero() {
                tokio::time::sleep(wait.min(GLANCE)).await;
                if last.is_some_and(|last| last > clock::now()) {
                    last = Some(clock::now());
                }
                continue;
            }
            self.hold_round().await;
            last = Some(clock::now());
        }
    }

    fn last_round(&self) -> Option<Time> {
        self.context.store.meta(LAST.0).ok().flatten()?.parse().ok().map(Time)
    }

    /// What the last round came to.
    pub(super) fn housekeeping(&self) -> Option<Round> {
        let text = self.context.store.meta(LAST.1).ok().flatten()?;
        serde_json::from_str(&text).ok()
    }

    async fn hold_round(&self) {
        // A server that drains is not kept from its end.
        let Ok(_running) = self.tasks.clone().try_read_owned() else { return };
        let now = clock::now();
        let mut round = Round { at: rfc3339(now), ..Round::default() };
        if let Err(failure) = self.look_after_all(now, &mut round).await {
            round.warnings.push(failure.to_string());
        }
        round.warnings.iter().for_each(|warning| tracing::warn!("housekeeping: {warning}"));
        let text = serde_json::to_string(&round).unwrap_or_default();
        let noted = self.context.store.set_meta(LAST.1, &text);
        let noted = noted.and_then(|()| self.context.store.set_meta(LAST.0, &now.0.to_string()));
        if let Err(error) = noted {
            tracing::warn!(%error, "a round of housekeeping was not noted");
        }
    }

    async fn look_after_all(&self, now: Time, round: &mut Round) -> Result<(), Failure> {
        for project in self.context.store.projects()? {
            let Some(_closed) = self.desk.close(&project.name, "housekeeping") else {
                round.busy.push(project.name.to_string());
                continue;
            };
            // Made or destroyed meanwhile: what is in the store now counts.
            let Some(project) = self.context.store.project(&project.name)? else { continue };
            round.projects += 1;
            if let Err(failure) = self.look_after(&project, now, round).await {
                round.warnings.push(format!("{}: {failure}", project.name));
            }
        }
        let _making = self.making.lock().await;
        for (directory, stayed) in tokio::task::block_in_place(|| self.purge_due(now))? {
            match stayed {
                None => round.done.push(format!("{directory} purged")),
                Some(failure) => round.warnings.push(format!("{directory} is not purged: {failure}")),
            }
        }
        Ok(())
    }

    async fn look_after(&self, project: &ProjectRecord, now: Time, round: &mut Round) -> Result<(), Failure> {
        let name = &project.name;
        let fixed = permissions::fix(&self.context, project, Extent::Whole)?;
        if fixed.changed > 0 {
            round.done.push(format!("{name}: owners and modes, {}", permissions::words(&fixed)));
        }
        let left = fixed.left_alone.iter().map(|path| format!("{name}: wrong owner, left alone: {}", path.display()));
        round.warnings.extend(left.take(5));
        let mut surplus =
            tokio::task::block_in_place(|| trimming::candidates(&self.context, project, (now, Failed::WhenOld)))?;
        surplus.retain(|candidate| candidate.surplus != Surplus::Cache);
        let stayed = tokio::task::block_in_place(|| trimming::remove(&self.context, project, &surplus));
        let gone: u64 = surplus.iter().map(|candidate| candidate.bytes).sum();
        if surplus.len() > stayed.len() {
            round.done.push(format!("{name}: {} removed", words::size(gone)));
        }
        round.warnings.extend(stayed.iter().map(|(path, why)| format!("{name}: {} stays: {why}", path.display())));
        let places = self.context.project_places(name);
        if project.disk_limit.is_some() {
            limits::apply(&places.data(), project.app_user.uid, project.disk_limit).await?;
        }
        let data = tokio::task::block_in_place(|| room::data_of(&self.context, project))?;
        let warnings = room::warnings(&self.context, project, data)?;
        round.warnings.extend(warnings.into_iter().map(|warning| format!("{name}: {warning}")));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_held_in_time_whatever_the_clock_does() {
        let hour = Duration::from_secs(3_600);
        let wait = |last: Option<i64>, now: i64| due_in(last.map(Time), Time(now), hour).as_secs();
        assert_eq!(wait(Some(0), 600_000), 3_000);
        assert_eq!([wait(Some(0), 3_600_000), wait(Some(0), 99_999_999)], [0, 0], "overdue: once, now");
        assert_eq!(wait(None, 5), 3_600, "a new server settles in first");
        assert_eq!(wait(Some(9_000_000), 5), 3_600, "the clock went back");
    }
}
