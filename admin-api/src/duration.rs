//! LiteLLM's durations: `30s`, `5m`, `2h`, `7d`, `1w`, `1mo`, and the words hourly, daily, weekly, monthly.
//!
//! LiteLLM matches a prefix and answers 500 for what it cannot read. Here the whole text must match: a limit that was
//! read as something else than it says is a hole. Months are calendar months, so a span means something only from an
//! instant on.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use time::{Date, Month, OffsetDateTime, Time};

/// A length of time as LiteLLM writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Seconds, minutes, hours, days and weeks, in seconds.
    Seconds(u64),
    /// Calendar months.
    Months(u32),
}

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number and one of s, m, h, d, w, mo, such as 30s, 24h, 30d, 1mo")]
pub struct NotADuration;

impl FromStr for Span {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        match text {
            "hourly" => return Ok(Self::Seconds(3_600)),
            "daily" => return Ok(Self::Seconds(86_400)),
            "weekly" => return Ok(Self::Seconds(604_800)),
            "monthly" => return Ok(Self::Months(1)),
            _ => {}
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| NotADuration)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            "mo" => return u32::try_from(number).map(Self::Months).map_err(|_| NotADuration),
            _ => return Err(NotADuration),
        };
        number.checked_mul(seconds).map(Self::Seconds).ok_or(NotADuration)
    }
}

impl fmt::Display for Span {
    /// In a form that [`Span::from_str`] reads back as the same span.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds}s"),
            Self::Months(months) => write!(f, "{months}mo"),
        }
    }
}

impl Span {
    /// The instant this long after `start`. The day of the month is kept where the month has it, else it is the month's
    /// last. `None` past the year 9999, which no store and no client can write down.
    #[must_use]
    pub fn after(self, start: SystemTime) -> Option<SystemTime> {
        let end = match self {
            Self::Seconds(seconds) => {
                OffsetDateTime::from(start).checked_add(Duration::from_secs(seconds).try_into().ok()?)?
            }
            Self::Months(months) => add_months(OffsetDateTime::from(start), months)?,
        };
        Some(end.into())
    }
}

impl Span {
    /// When a budget that began before `now` begins anew, in UTC, as LiteLLM has it: days at midnight, seven days (a week) on
    /// a Monday, thirty days and months on the first of a month; anything else this long after `now`.
    #[must_use]
    pub fn next_start(self, now: SystemTime) -> Option<SystemTime> {
        let midnight = OffsetDateTime::from(now).replace_time(Time::MIDNIGHT);
        let start = match self {
            Self::Seconds(DAY) => midnight.checked_add(time::Duration::DAY)?,
            Self::Seconds(WEEK) => {
                let days = 7 - i64::from(midnight.weekday().number_days_from_monday());
                midnight.checked_add(time::Duration::days(days))?
            }
            Self::Seconds(MONTH) | Self::Months(1) => add_months(midnight.replace_day(1).ok()?, 1)?,
            Self::Months(months) => add_months(midnight.replace_day(1).ok()?, months)?,
            Self::Seconds(_) => return self.after(now),
        };
        Some(start.into())
    }
}

const DAY: u64 = 86_400;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;

fn add_months(start: OffsetDateTime, months: u32) -> Option<OffsetDateTime> {
    let zero_based = u64::from(u8::from(start.month())) - 1 + u64::from(months);
    let year = start.year().checked_add(i32::try_from(zero_based / 12).ok()?).filter(|year| *year <= 9999)?;
    let month = Month::try_from((zero_based % 12) as u8 + 1).ok()?;
    let day = start.day().min(month.length(year));
    Date::from_calendar_date(year, month, day).ok().map(|date| start.replace_date(date))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn reads_every_unit_and_word() {
        let cases = [
            ("0s", Span::Seconds(0)),
            ("30s", Span::Seconds(30)),
            ("5m", Span::Seconds(300)),
            ("2h", Span::Seconds(7_200)),
            ("7d", Span::Seconds(604_800)),
            ("2w", Span::Seconds(1_209_600)),
            ("1mo", Span::Months(1)),
            ("daily", Span::Seconds(86_400)),
            ("monthly", Span::Months(1)),
        ];
        for (text, span) in cases {
            assert_eq!(text.parse(), Ok(span), "{text}");
        }
    }

    #[test]
    fn budgets_begin_anew_where_litellm_has_them_begin() {
        // A Friday.
        let now = datetime!(2026-11-27 02:41:22 UTC).into();
        for (text, start) in [
            ("1d", datetime!(2026-11-28 00:00 UTC)),
            ("daily", datetime!(2026-11-28 00:00 UTC)),
            ("7d", datetime!(2026-11-30 00:00 UTC)),
            ("1w", datetime!(2026-11-30 00:00 UTC)),
            ("30d", datetime!(2026-12-01 00:00 UTC)),
            ("monthly", datetime!(2026-12-01 00:00 UTC)),
            ("3mo", datetime!(2027-02-01 00:00 UTC)),
            ("1h", datetime!(2026-11-27 03:41:22 UTC)),
            ("2d", datetime!(2026-11-29 02:41:22 UTC)),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().next_start(now), Some(start.into()), "{text}");
        }
        let monday = datetime!(2026-11-30 00:00 UTC);
        let next = Span::Seconds(WEEK).next_start(monday.into());
        assert_eq!(next, Some(datetime!(2026-12-07 00:00 UTC).into()), "a week that begins now is not over");
    }

    #[test]
    fn refuses_what_litellm_guesses_at_or_breaks_on() {
        let cases =
            ["", "s", "90", "30sec", "1.5h", "1D", "1y", "-1d", "-1", "+1d", " 1d", "1d ", "1 d", "٣d", "bogus"];
        for text in cases {
            assert_eq!(text.parse::<Span>(), Err(NotADuration), "{text:?}");
        }
        assert_eq!("99999999999999999999s".parse::<Span>(), Err(NotADuration));
        assert_eq!("18446744073709551615w".parse::<Span>(), Err(NotADuration));
    }

    #[test]
    fn a_month_ends_on_its_last_day_where_it_is_shorter() {
        let start = SystemTime::from(datetime!(2024-01-31 10:00 UTC));
        assert_eq!(Span::Months(1).after(start), Some(datetime!(2024-02-29 10:00 UTC).into()));
        assert_eq!(Span::Months(13).after(start), Some(datetime!(2025-02-28 10:00 UTC).into()));
        assert_eq!(Span::Months(12).after(start), Some(datetime!(2025-01-31 10:00 UTC).into()));
    }

    #[test]
    fn never_leaves_the_calendar() {
        let start = SystemTime::from(datetime!(2026-06-15 0:00 UTC));
        assert_eq!(Span::Seconds(u64::MAX).after(start), None);
        assert_eq!(Span::Seconds(400_000_000_000).after(start), None);
        assert_eq!(Span::Months(u32::MAX).after(start), None);
    }

    proptest! {
        #[test]
        fn a_duration_is_digits_and_one_unit_and_nothing_else(text in "[0-9]{0,6}([smhdwo]{0,3}|\\PC{0,4})") {
            let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
            let well_formed = unit.len() < text.len() && ["s", "m", "h", "d", "w", "mo"].contains(&unit)
                || ["hourly", "daily", "weekly", "monthly"].contains(&text.as_str());
            prop_assert_eq!(text.parse::<Span>().is_ok(), well_formed, "{:?}", text);
        }

        #[test]
        fn a_longer_span_never_ends_earlier(a in 0u64..10_000, b in 0u64..10_000, unit in "s|m|h|d|w|mo") {
            let start = SystemTime::from(datetime!(2026-01-31 23:59:59 UTC));
            let end = |n: u64| format!("{n}{unit}").parse::<Span>().unwrap().after(start).unwrap();
            prop_assert_eq!(a <= b, end(a) <= end(b));
        }
    }
}
