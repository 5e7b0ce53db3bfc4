//! Wall time for records. Deciding code takes a [`Time`] as an argument and never comes here.

use crate::model::Time;

/// Now, in milliseconds since 1970 UTC.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Time(since.map(|elapsed| elapsed.as_millis() as i64).unwrap_or(0))
}

/// `2026-11-20T10:41:07.123Z`.
pub fn rfc3339(time: Time) -> String {
    timestamp(time).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// `20261120T104107Z`: the first half of a deployed tree's name.
pub fn compact(time: Time) -> String {
    timestamp(time).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// `10:41:07`, UTC.
pub fn time_of_day(time: Time) -> String {
    timestamp(time).strftime("%H:%M:%S").to_string()
}

fn timestamp(time: Time) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_utc() {
        let time = Time(1_795_171_267_123);
        assert_eq!(rfc3339(time), "2026-11-20T10:41:07.123Z");
        assert_eq!(compact(time), "20261120T104107Z");
    }
}
