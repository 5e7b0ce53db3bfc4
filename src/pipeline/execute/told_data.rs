//! What the log hears of data: what was put back, which writes were put aside, and why nothing was.

use super::Execution;
use crate::model::{Failure, Time};
use crate::notify::words;
use crate::pipeline::data;
use crate::pipeline::facts::Facts;
use crate::store::DataState;
use crate::system::clock;

impl Execution<'_> {
    pub fn facts(&self) -> &'_ Facts {
        &self.facts
    }

    pub fn ssh_words(&self) -> String {
        self.context.ssh_words()
    }

    /// A failure after data was touched that cannot be put back says so, and why.
    pub fn with_what_became_of_data(&self, failure: Failure) -> Failure {
        let because = match data::own(&self.facts) {
            Err(because) if self.data_state() != DataState::Untouched => because,
            _ => return failure,
        };
        let what = format!("{}; data was not put back: {}", failure.what, because.words());
        Failure { what, ..failure }
    }

    /// `41 s`, when something was stopped.
    pub(super) fn downtime(&self) -> Option<String> {
        self.work.data.downtime.map(|milliseconds| words::duration(milliseconds as f64 / 1e3))
    }

    pub(super) fn down_since(&self) -> Option<String> {
        self.work.data.stopped.map(clock::time_of_day)
    }

    /// `writes from 10:41:07 to 10:41:48 were discarded; kept in archives/44.failed/data for 7 days`
    pub(super) fn discarded_words(&self) -> Option<String> {
        let (from, until) = self.work.data.discarded?;
        let days = self.days_words();
        let words = between(from, until);
        let place = format!("archives/{}.failed/data", self.order.number.0);
        Some(format!("writes {words} were discarded; kept in {place} {days}"))
    }

    /// Says what is back, once it is.
    pub(super) fn tell_restored(&self) {
        let dumps = self.has_own_dumps();
        let at = self.work.data.kept.map(|kept| clock::time_of_day(kept.at)).unwrap_or_default();
        let copy = data::own(&self.facts).is_ok_and(data::Holds::copy);
        let restored = if copy { "code, run/ and data/ restored" } else { "code and run/ restored" };
        match dumps {
            true => self.tell_detail(&format!("{restored}; dump of {at} reloaded")),
            false => self.tell_detail(restored),
        }
        if data::dump_is_for_people(&self.facts) {
            let place = format!("archives/{}/dumps", self.order.number.0);
            self.tell_verdict("warning", &format!("no hook restore: the dump of {at} is kept in {place}"));
        }
    }

    /// Beside the tree that did not work, for those who look at it later. A log that cannot be copied is still where it was.
    pub fn keep_log(&self) {
        let (number, failed) = (self.order.number, self.places.failed_log(self.order.number));
        if failed.parent().is_some_and(std::path::Path::is_dir) {
            let copied = std::fs::copy(self.places.deployment_log(number), &failed);
            if let Err(error) = copied {
                tracing::warn!(project = %self.order.project.name, %error, "the log could not be kept");
            }
        }
    }
}

/// `from 10:41:07 to 10:41:48`
pub fn between(from: Time, until: Time) -> String {
    format!("from {} to {} UTC", clock::time_of_day(from), clock::time_of_day(until))
}
