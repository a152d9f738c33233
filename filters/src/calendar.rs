//! Instants as people and Python write them.

use std::time::SystemTime;

use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

/// Reads ISO 8601: with a `T` or a blank, with or without parts of a second and a zone (UTC without); a day alone begins
/// at midnight.
#[must_use]
pub fn iso_8601(text: &str) -> Option<SystemTime> {
    let text = text.trim().replacen(' ', "T", 1);
    let with_zone = || OffsetDateTime::parse(&text, &Iso8601::PARSING).ok();
    let without = || PrimitiveDateTime::parse(&text, &Iso8601::PARSING).ok().map(PrimitiveDateTime::assume_utc);
    let day = || Date::parse(&text, &Iso8601::PARSING).ok().map(|day| day.midnight().assume_utc());
    with_zone().or_else(without).or_else(day).map(SystemTime::from)
}
