//! Instants as LiteLLM's clients read them: ISO 8601 in UTC, `2026-01-31T09:30:00.123456Z`.
//!
//! The stores keep microseconds, so every instant is cut to the microsecond where it is taken: what a write returns is
//! what a later read returns.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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

/// An instant that a request names: RFC 3339 text, or whole seconds since 1970 as the claims of a token have them. To the
/// microsecond, from 1970 to the year 9999.
pub(crate) fn instant(value: &Value) -> Option<SystemTime> {
    let at = match value {
        Value::String(text) => OffsetDateTime::parse(text, &Rfc3339).ok()?,
        other => OffsetDateTime::from_unix_timestamp(other.as_i64()?).ok()?,
    };
    let micros = u64::try_from(at.unix_timestamp_nanos() / 1_000).ok()?;
    (at.year() <= 9999).then(|| UNIX_EPOCH + Duration::from_micros(micros))
}

fn calendar(at: SystemTime) -> Option<OffsetDateTime> {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => OffsetDateTime::UNIX_EPOCH.checked_add(after.try_into().ok()?),
        Err(before) => OffsetDateTime::UNIX_EPOCH.checked_sub(before.duration().try_into().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn writes_microseconds_only_where_there_are_some() {
        assert_eq!(iso8601(datetime!(2026-01-31 09:30:00 UTC).into()), "2026-01-31T09:30:00Z");
        assert_eq!(iso8601(datetime!(2026-01-31 09:30:00.000123 UTC).into()), "2026-01-31T09:30:00.000123Z");
        assert_eq!(iso8601(datetime!(1969-12-31 23:59:59.5 UTC).into()), "1969-12-31T23:59:59.500000Z");
    }

    #[test]
    fn reads_what_it_writes_and_what_tokens_say() {
        let second = SystemTime::from(datetime!(2026-01-31 09:30:00 UTC));
        let cases = [
            (json!("2026-01-31T09:30:00Z"), Some(second)),
            (json!("2026-01-31T10:30:00+01:00"), Some(second)),
            (json!("2026-01-31T09:30:00.0000019Z"), Some(second + Duration::from_micros(1))),
            (json!(1_769_851_800), Some(second)),
            (json!(0), Some(UNIX_EPOCH)),
            (json!(-1), None),
            (json!("1969-12-31T23:59:59Z"), None),
            (json!(253_402_300_799_u64), Some(datetime!(9999-12-31 23:59:59 UTC).into())),
            (json!(253_402_300_800_u64), None),
            (json!(u64::MAX), None),
            (json!(1.5), None),
            (json!("1769851800"), None),
            (json!("2026-01-31"), None),
            (json!("tomorrow"), None),
            (json!(true), None),
            (Value::Null, None),
        ];
        for (value, expected) in cases {
            assert_eq!(instant(&value), expected, "{value}");
        }
    }

    #[test]
    fn survives_an_instant_beyond_the_calendar() {
        assert_eq!(iso8601(UNIX_EPOCH + Duration::from_secs(1 << 50)), Value::Null);
        assert_eq!(iso8601_or_null(None), Value::Null);
    }
}
