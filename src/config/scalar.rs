//! What a scalar means: the rules of YAML 1.1 as PyYAML, and so LiteLLM, applies them.
//!
//! `on`, `Yes` and `TRUE` are truth values, `0o17` is text, `1_000` and `0x1F` are numbers. Lengths of time and sizes
//! are ours: a plain number counts seconds or bytes, a suffix says otherwise (`30s`, `5m`, `2h`, `7d`; `32KiB`).

use std::time::Duration;

/// The truth value that a plain scalar stands for.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Whether a plain scalar stands for nothing at all.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The whole number that a plain scalar stands for. Numbers in base 60 (`1:30`) are taken as text: nobody means them.
pub(super) fn whole(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let magnitude = if let Some(hexadecimal) = digits.strip_prefix("0x") {
        i64::from_str_radix(hexadecimal, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i64::from_str_radix(binary, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(&digits, 8)
    } else {
        digits.parse()
    };
    magnitude.ok().map(|magnitude| if negative { -magnitude } else { magnitude })
}

/// The number that a plain scalar stands for; finite.
pub(super) fn number(text: &str) -> Option<f64> {
    if let Some(whole) = whole(text) {
        return Some(whole as f64);
    }
    let looks_like_one = text.contains('.')
        && text.contains(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '_' | '+' | '-' | 'e' | 'E'));
    looks_like_one.then(|| text.replace('_', "").parse().ok()).flatten().filter(|number: &f64| number.is_finite())
}

/// A length of time: a number of seconds, or LiteLLM's form `30s`, `5m`, `2h`, `7d`, `2w`, `1mo` (30 days).
pub(super) fn duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_')).unwrap_or(text.len());
    let seconds = match text[end..].trim() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        "mo" => 2_592_000.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number(text[..end].trim())? * seconds).ok()
}

/// A size: a number of bytes, or with one of the suffixes `KB`, `MB`, `GB` (thousands) and `KiB`, `MiB`, `GiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let unit: u64 = match text[end..].trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    u64::try_from(whole(text[..end].trim())?).ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_mean_what_pyyaml_says() {
        for (text, meaning) in
            [("True", Some(true)), ("on", Some(true)), ("NO", Some(false)), ("tRue", None), ("y", None), ("1", None)]
        {
            assert_eq!(truth(text), meaning, "{text}");
        }
        for (text, meaning) in [
            ("10", Some(10)),
            ("-3", Some(-3)),
            ("1_000", Some(1000)),
            ("0x1F", Some(31)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("0o17", None),
            ("1:30", None),
            ("sk-1", None),
            ("--1", None),
            ("99999999999999999999", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(whole(text), meaning, "{text}");
        }
        for (text, meaning) in [("0.5", Some(0.5)), ("3", Some(3.0)), (".inf", None), (".", None), ("1.2.3", None)] {
            assert_eq!(number(text), meaning, "{text}");
        }
    }

    #[test]
    fn times_and_sizes() {
        for (text, seconds) in [
            ("60", Some(60.0)),
            ("0.5", Some(0.5)),
            ("5m", Some(300.0)),
            ("1.5h", Some(5400.0)),
            ("1mo", Some(2_592_000.0)),
            ("250ms", Some(0.25)),
            ("-1", None),
            ("h", None),
            ("5 parsecs", None),
        ] {
            assert_eq!(duration(text).map(|time| time.as_secs_f64()), seconds, "{text}");
        }
        for (text, size) in [
            ("32KiB", Some(32768)),
            ("100 MB", Some(100_000_000)),
            ("7", Some(7)),
            ("-1", None),
            ("99999999999GiB", None),
            ("1XB", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
