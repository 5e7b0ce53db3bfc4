//! When a task is due: a line of cron in a time zone. Pure.
//!
//! Vixie's rules hold on the days on which clocks change: a fixed time that is left out comes right after the gap, one
//! that comes twice comes once, and what repeats every so often goes on.

use crate::model::Time;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A schedule, understood.
#[derive(Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
    line: String,
    zone_name: String,
}

/// The zone of schedules that name none.
pub const UTC: &str = "UTC";

impl Schedule {
    /// Understands five fields, or a name such as `@daily`. `Err` says what is wrong, in words.
    pub fn parse(line: &str, zone_name: &str) -> Result<Self, String> {
        let line = line.trim();
        if line.len() > 200 {
            return Err("is longer than 200 letters".into());
        }
        let fields = line.split_whitespace().count();
        if !line.starts_with('@') && fields != 5 {
            let seconds = if fields == 6 { "; there are no seconds" } else { "" };
            return Err(format!("has {fields} fields and not 5{seconds}"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(line).map_err(|error| said(&error.to_string()))?;
        let zone = TimeZone::get(zone_name).map_err(|_| format!("names no time zone: {}", zone_name.escape_debug()))?;
        let schedule = Self { cron, zone, line: line.to_owned(), zone_name: zone_name.to_owned() };
        match schedule.next_after(Time(0)) {
            Some(_) => Ok(schedule),
            None => Err("names no time that ever comes".into()),
        }
    }

    /// The first time that it is due after a moment.
    pub fn next_after(&self, moment: Time) -> Option<Time> {
        self.cron.find_next_occurrence(&self.zoned(moment)?, false).ok().map(time)
    }

    /// The last time that it was due up to a moment, this included.
    pub fn last_until(&self, moment: Time) -> Option<Time> {
        self.cron.find_previous_occurrence(&self.zoned(moment)?, true).ok().map(time)
    }

    /// As it was written.
    pub fn line(&self) -> &str {
        &self.line
    }

    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    fn zoned(&self, moment: Time) -> Option<Zoned> {
        Some(Timestamp::from_millisecond(moment.0).ok()?.to_zoned(self.zone.clone()))
    }
}

fn time(zoned: Zoned) -> Time {
    Time(zoned.timestamp().as_millisecond())
}

/// The library's words as a part of our sentence.
fn said(error: &str) -> String {
    format!("cannot be understood: {}", error.trim_end_matches('.').to_lowercase())
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.line, self.zone_name)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.line, &self.zone_name) == (&other.line, &other.zone_name)
    }
}

impl Eq for Schedule {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Time {
        Time(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn shown(time: Option<Time>) -> String {
        time.map_or("never".into(), |time| Timestamp::from_millisecond(time.0).unwrap().to_string())
    }

    /// The next so many times after a moment.
    fn times((line, zone): (&str, &str), from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(line, zone).unwrap();
        let first = schedule.next_after(at(from));
        std::iter::successors(first, |last| schedule.next_after(*last)).take(count).map(|t| shown(Some(t))).collect()
    }

    #[test]
    fn a_line_of_cron_and_a_name_mean_what_they_always_meant() {
        let five = times(("*/20 3 * * *", UTC), "2026-01-01T03:00:00Z", 3);
        assert_eq!(five, ["2026-01-01T03:20:00Z", "2026-01-01T03:40:00Z", "2026-01-02T03:00:00Z"]);
        assert_eq!(times(("@daily", UTC), "2026-01-01T03:00:00Z", 1), ["2026-01-02T00:00:00Z"]);
        assert_eq!(times(("@hourly", UTC), "2026-01-01T03:00:01Z", 1), ["2026-01-01T04:00:00Z"]);
        // A day of the month or a day of the week, as Vixie has it.
        let either = times(("0 0 13 * FRI", UTC), "2026-01-10T00:00:00Z", 2);
        assert_eq!(either, ["2026-01-13T00:00:00Z", "2026-01-16T00:00:00Z"]);
        assert_eq!(times(("0 9 * * *", "Europe/Paris"), "2026-07-01T00:00:00Z", 1), ["2026-07-01T07:00:00Z"]);
    }

    #[test]
    fn what_is_due_at_a_time_that_is_left_out_comes_right_after_it() {
        // Clocks in Berlin go from 02:00 to 03:00 at 01:00 UTC on 2026-03-29.
        let daily = times(("30 2 * * *", "Europe/Berlin"), "2026-03-28T00:00:00Z", 3);
        assert_eq!(daily, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let every = times(("*/30 * * * *", "Europe/Berlin"), "2026-03-29T00:15:00Z", 3);
        assert_eq!(every, ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
    }

    #[test]
    fn what_is_due_at_a_time_that_comes_twice_comes_once_unless_it_repeats() {
        // Clocks in Berlin go from 03:00 to 02:00 at 01:00 UTC on 2026-10-25.
        let daily = times(("30 2 * * *", "Europe/Berlin"), "2026-10-24T12:00:00Z", 2);
        assert_eq!(daily, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let every = times(("*/30 * * * *", "Europe/Berlin"), "2026-10-25T00:15:00Z", 4);
        assert_eq!(
            every,
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        let error = |line: &str, zone: &str| Schedule::parse(line, zone).unwrap_err();
        assert_eq!(error("* * * *", UTC), "has 4 fields and not 5");
        assert_eq!(error("0 * * * * *", UTC), "has 6 fields and not 5; there are no seconds");
        assert_eq!(error("* * * * *", "Mars/Olympus"), "names no time zone: Mars/Olympus");
        assert_eq!(error("0 0 30 2 *", UTC), "names no time that ever comes");
        for bad in ["60 * * * *", "* * * * MOO", "@never", "@reboot", "a b c d e", "*/0 * * * *", "5-1 * * * *", ""] {
            error(bad, UTC);
        }
        error(&"*".repeat(10_000), UTC);
    }

    proptest! {
        #[test]
        fn last_and_next_agree(minute in 0u32..60, hour in "(\\*|[0-9]|1[0-9]|2[0-3])", seconds in 0i64..40_000_000) {
            let schedule = Schedule::parse(&format!("{minute} {hour} * * *"), "Europe/Berlin").unwrap();
            let now = Time(1_780_000_000_000 + seconds * 1000);
            let last = schedule.last_until(now).unwrap();
            prop_assert!(last <= now);
            let next = schedule.next_after(last).unwrap();
            prop_assert!(next > now, "{} then {} and not {}", shown(Some(last)), shown(Some(next)), shown(Some(now)));
        }

        #[test]
        fn no_line_makes_it_panic(line in "[-*/0-9,#LW?@A-Za-z ]{0,40}") {
            let _ = Schedule::parse(&line, UTC);
        }
    }
}
