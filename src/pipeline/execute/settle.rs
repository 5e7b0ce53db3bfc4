//! The end of what went well: what can still fail before the branch moves, and the verdict.

use super::switch::sync_each;
use super::{Execution, missing};
use crate::model::{Code, Failure, ReleaseVersion};
use crate::pipeline::facts::Place;
use crate::pipeline::step::{Edit, Step};
use crate::store::InPlace;
use crate::system::clock;

impl Execution<'_> {
    /// The last that can still fail: it is done before the branch moves, or, where none does, before the verdict.
    pub(super) fn before_the_end(&self) -> Result<(), Failure> {
        self.note_environment()?;
        self.make_late_hooks_durable()?;
        if self.gathered.facts.place == Place::InPlace && !self.begun.contains(&Step::Edit(Edit::Snapshot)) {
            self.context.store.note_in_place(&self.order.project.name, self.order.number, InPlace::Kept)?;
        }
        Ok(())
    }

    /// What hooks wrote since the switch, before anything says that this is live. What the application itself writes is
    /// its own to flush.
    fn make_late_hooks_durable(&self) -> Result<(), Failure> {
        let switched = |step: &Step| matches!(step, Step::Exchange | Step::Edit(Edit::Stay));
        let mut since = self.begun.iter().skip_while(|step| !switched(step));
        if !since.any(|step| matches!(step, Step::Hook(_))) {
            return Ok(());
        }
        let mut written = vec![self.places.data()];
        // A release is nobody's to write to.
        written.extend((self.gathered.facts.place != Place::Beside).then(|| self.work.tree.clone()));
        sync_each(written)
    }

    /// The verdict reaches the disk: from here on the release is live whatever happens. Once the branch has moved
    /// there is no way back: a verdict that cannot be written then is found and written by recovery.
    pub async fn settle(&mut self) -> Result<ReleaseVersion, Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        // Where nothing was started, what was live is live.
        let started = self.begun.contains(&Step::Start);
        let version = if started { self.work.version } else { self.order.project.live };
        let version = version.ok_or_else(|| missing("a release number"))?;
        let has_moved = self.begun.contains(&Step::MoveRef);
        if !has_moved {
            self.before_the_end()?;
        }
        self.note_records();
        match self.context.store.finish_live(name, number, version, clock::now()) {
            Err(error) if has_moved => {
                tracing::error!(project = %name, %number, %error, "live, but not recorded yet");
            }
            finished => finished?,
        }
        if let Some(doubt) = &self.work.doubt {
            let _ = self.context.store.set_trouble(name, Some(doubt));
        }
        if started {
            self.context.set_live(name, self.work.new);
        }
        self.work.settled = Some(version);
        self.tell_live(version);
        if let Some(doubt) = &self.work.doubt {
            self.tell_verdict("error", doubt);
        }
        Ok(version)
    }

    /// Why what is live cannot be promised.
    pub fn doubt(&self) -> Option<Failure> {
        let hint = format!("commis rescue {} shows what can be done", self.order.project.name);
        self.work.doubt.as_ref().map(|doubt| Failure::new(Code::NeedsAdmin, doubt).hint(hint))
    }
}
