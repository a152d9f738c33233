//! Instants as LiteLLM's clients read them: ISO 8601 in UTC, `2026-01-31T09:30:00.123456Z`.
//!
//! The stores keep microseconds, so every instant is cut to the microsecond where it is taken: what a write returns is
//! what a later read returns.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use time::OffsetDateTime;

/// The present, to the microsecond.
pub(crate) fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::new(since.as_secs(), since.subsec_micros() * 1_000)
}

/// The instant as JSON text; the fraction is left out where it is zero, as LiteLLM's serializer does.
///
/// An instant that the calendar cannot hold (an imported row may say `infinity`) is null, as if there were none.
pub(crate) fn iso8601(at: SystemTime) -> Value {
    let Some(at) = calendar(at) else { return Value::Null };
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    let whole = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    match at.microsecond() {
        0 => format!("{whole}Z").into(),
        micros => format!("{whole}.{micros:06}Z").into(),
    }
}

/// As [`iso8601`], with null for none.
pub(crate) fn iso8601_or_null(at: Option<SystemTime>) -> Value {
    at.map_or(Value::Null, iso8601)
}

fn calendar(at: SystemTime) -> Option<OffsetDateTime> {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => OffsetDateTime::UNIX_EPOCH.checked_add(after.try_into().ok()?),
        Err(before) => OffsetDateTime::UNIX_EPOCH.checked_sub(before.duration().try_into().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn writes_microseconds_only_where_there_are_some() {
        assert_eq!(iso8601(datetime!(2026-01-31 09:30:00 UTC).into()), "2026-01-31T09:30:00Z");
        assert_eq!(iso8601(datetime!(2026-01-31 09:30:00.000123 UTC).into()), "2026-01-31T09:30:00.000123Z");
        assert_eq!(iso8601(datetime!(1969-12-31 23:59:59.5 UTC).into()), "1969-12-31T23:59:59.500000Z");
    }

    #[test]
    fn survives_an_instant_beyond_the_calendar() {
        assert_eq!(iso8601(UNIX_EPOCH + Duration::from_secs(1 << 50)), Value::Null);
        assert_eq!(iso8601_or_null(None), Value::Null);
    }
}
