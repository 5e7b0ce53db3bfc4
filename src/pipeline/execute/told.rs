//! What the log hears while steps are carried out. Sentences come from `notify::words`.

use super::Execution;
use crate::model::{Code, DeploymentNumber, Failure, ReleaseVersion};
use crate::notify::words::{self, Gate, Stage};
use crate::pipeline::facts::Place;
use crate::pipeline::step::{Edit, Step};
use crate::pipeline::{Goal, Phase};
use crate::store::DataState;
use crate::system::clock;

impl Execution<'_> {
    pub(super) fn tell_opening(&self, steps: &[(Phase, Step)]) {
        let (name, number) = (&self.order.project.name, self.order.number);
        let platform = self.gathered.config.platform.as_str();
        match &self.order.goal {
            Goal::Commit { commit, .. } => {
                self.log.line(&words::opening(name, number, commit, &self.order.subject, platform));
            }
            Goal::Promotion(promotion) => {
                self.log.line(&words::promoting(name, number, promotion.version, (&promotion.environment, platform)))
            }
            Goal::Release(version) => {
                self.log.line(&format!("-----> {name}: deploy {number}, {version} again, to {platform}"))
            }
            Goal::Standing { .. } => {
                self.log.line(&format!("-----> {name}: deploy {number} of what stands here, on {platform}"));
            }
        }
        if let Some(archive) = self.order.with_data {
            self.log.line(&words::detail(&format!("with its data, from archives/{}", archive.0)));
        }
        if self.order.number == DeploymentNumber(1) {
            self.log.line(&words::detail(&format!("{name} is new on this server")));
        }
        let has_gate = steps.iter().any(|(_, step)| matches!(step, Step::Exchange | Step::Edit(Edit::Stay)));
        self.log.line(&words::detail(words::ctrl_c(if has_gate { Gate::Passed } else { Gate::None })));
        self.gathered.warnings.iter().for_each(|warning| self.tell_warning(warning));
    }

    /// A stage whose details follow; told once.
    pub(super) fn open_stage(&mut self, stage: Stage, text: &str) {
        if self.work.opened != Some(stage) {
            self.work.opened = Some(stage);
            self.log.line(&words::stage(stage, text, None));
        }
    }

    /// A stage that is over.
    pub(super) fn close_stage(&mut self, stage: Stage, text: &str) {
        self.work.opened = Some(stage);
        self.log.line(&words::stage(stage, &self.redactor.redact(text), Some(self.elapsed())));
    }

    pub(super) fn tell_detail(&self, text: &str) {
        self.log.line(&words::detail(text));
    }

    pub(super) fn tell_live(&mut self, version: ReleaseVersion) {
        let keep = self.gathered.config.releases.keep;
        match self.gathered.facts.place {
            Place::Beside => self.close_stage(Stage::Tidy, &format!("keeps {keep} releases")),
            Place::InPlace | Place::Fresh(_) => self.close_stage(Stage::Tidy, "what is edited makes no release"),
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let answers = self.work.new.is_some_and(|live| !self.context.web_ports(live.set).is_empty());
        let url = answers.then(|| self.context.url_of(&self.order.project.name));
        if let Some((from, until)) = self.work.data.discarded {
            let words = super::told_data::between(from, until);
            let place = format!("archives/{}.left/data", self.order.number.0);
            let days = self.days_words();
            self.tell_verdict("warning", &format!("writes {words} were put aside; kept in {place} {days}"));
        }
        self.tell_end_of_editing();
        for line in words::live(&self.order.project.name, version, seconds, url.as_deref()) {
            self.log.line(&line);
        }
    }

    /// What was edited may hold what no commit has: whoever ends the editing hears where it is.
    fn tell_end_of_editing(&self) {
        if self.order.project.filled.is_none() || self.gathered.facts.place != Place::Beside {
            return;
        }
        let place = format!("archives/{}.left/run", self.order.number.0);
        let what = "the editing has ended; the tree as it was edited, with what no commit has";
        self.tell_verdict(
            "warning",
            &format!("{what} (ignored files for instance), is kept in {place} {}", self.days_words()),
        );
    }

    /// `for 7 days, until 2026-12-04`
    pub(super) fn days_words(&self) -> String {
        words::for_days(self.gathered.config.archives.failed_days, clock::now())
    }

    /// Without the values of secrets: what went wrong is shown to more people than its log.
    pub fn redacted(&self, failure: Failure) -> Failure {
        Failure { what: self.redactor.redact(&failure.what), ..failure }
    }

    pub(super) fn tell_warning(&self, text: &str) {
        self.tell_verdict("warning", text);
    }

    /// What went wrong; told before the undoing starts, because that may take a while.
    pub fn announce_failure(&self, failure: &Failure) {
        self.tell_verdict("error", &failure.what);
        for line in &failure.details {
            self.log.line(&words::detail(line));
        }
    }

    /// What follows is about the release that was live, which is put back.
    pub fn announce_way_back(&self) {
        let old = self.order.project.live.map(|version| version.to_string()).unwrap_or_default();
        self.log.line(&format!("-----> Rolling back to {old}"));
    }

    /// What serves now, and what next.
    pub fn announce_put_back(&self, failure: &Failure, reported: Code) {
        let name = &self.order.project.name;
        let live = self.context.live_words(&self.order.project);
        let live_words = live.as_ref().map(|(version, commit)| (*version, commit.as_str()));
        let restored = self.data_state() == DataState::Restored;
        match (reported, live_words) {
            (Code::RolledBack, Some((version, commit))) => {
                let down = self.downtime().map_or(String::new(), |down| format!("; {down} down"));
                self.tell_verdict("warning", &format!("{name} {version} ({commit}) is live again{down}"));
            }
            (_, Some((version, commit))) if restored => {
                let down = self.downtime().map_or(String::new(), |down| format!("; {down} down"));
                self.tell_verdict("warning", &format!("{name} {version} ({commit}) is live with its data{down}"));
            }
            _ => self.log.line(&words::detail(&words::still_serving(name, live_words))),
        }
        if let Some(discarded) = self.discarded_words().filter(|_| restored) {
            self.tell_verdict("warning", &discarded);
        }
        failure.hints.iter().for_each(|hint| self.tell_verdict("hint", hint));
        let log = format!("whole log: {} log {name} {}", self.context.ssh_words(), self.order.number.0);
        self.tell_verdict("hint", &log);
    }

    pub(super) fn tell_verdict(&self, word: &str, text: &str) {
        words::verdict(word, &self.redactor.redact(text)).iter().for_each(|line| self.log.line(line));
    }

    pub fn announce_rollback_failed(&self, failure: &Failure) {
        let name = &self.order.project.name;
        let state = match (self.context.live(name), self.down_since()) {
            (None, Some(since)) => format!("{name} is DOWN since {since}"),
            (None, None) => format!("{name} is DOWN"),
            (Some(_), _) => format!("{name} needs an admin"),
        };
        self.tell_verdict("error", &format!("ROLLBACK FAILED, {state}"));
        self.tell_detail(&self.redactor.redact(&failure.what));
        self.tell_detail("the failed and the previous release are both kept; nothing was deleted");
        failure.hints.iter().for_each(|hint| self.tell_verdict("hint", hint));
    }
}
