//! One canonical path, computed once from the request target and used by every later step.
//!
//! Routing, authorisation and forwarding that read different spellings of one path are how gateways are bypassed. So a
//! path is decoded here, and whatever could be read in two ways is refused instead of being repaired.

use std::collections::BTreeSet;
use std::fmt;

use crate::denial::Denial;

/// A decoded absolute path: `/`-separated, visible ASCII, no dot segments, no empty segment but a trailing one.
#[derive(Clone, PartialEq, Eq)]
pub struct CanonicalPath(String);

/// Longest request target that is looked at, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;

impl CanonicalPath {
    /// Reads the path of a request target (without its query).
    ///
    /// # Errors
    /// [`Denial::MalformedRequest`] for anything ambiguous: `//`, dot segments in any spelling, an encoded slash,
    /// backslash, semicolon, percent sign, control or non-ASCII byte, and characters that RFC 3986 does not allow in a
    /// path.
    pub fn parse(raw: &str) -> Result<Self, Denial> {
        if raw.len() > MAX_TARGET {
            return Err(Denial::MalformedRequest("request target too long"));
        }
        if !raw.starts_with('/') {
            return Err(Denial::MalformedRequest("request target is not an absolute path"));
        }
        let path = decode(raw)?;
        let mut segments = path[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            if matches!(segment, "." | "..") || (segment.is_empty() && !last) {
                return Err(Denial::MalformedRequest("ambiguous path"));
            }
        }
        Ok(Self(path))
    }

    /// The decoded path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which paths a gateway serves at all, to anybody. The default is every one that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenPaths(Option<BTreeSet<String>>);

impl OpenPaths {
    /// These and no others, each as it is spelt: `/v1/models` does not open `/models`.
    #[must_use]
    pub fn only(paths: impl IntoIterator<Item = CanonicalPath>) -> Self {
        Self(Some(paths.into_iter().map(|path| path.0).collect()))
    }

    /// Refuses a path that is not served.
    ///
    /// # Errors
    /// [`Denial::RouteClosed`].
    pub fn check(&self, path: &CanonicalPath) -> Result<(), Denial> {
        let open = self.0.as_ref().is_none_or(|open| open.contains(path.as_str()));
        if open { Ok(()) } else { Err(Denial::RouteClosed) }
    }
}

fn decode(raw: &str) -> Result<String, Denial> {
    // Nearly every path is its own decoded form.
    if raw.bytes().all(is_plain) {
        return Ok(raw.to_owned());
    }
    let mut path = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let plain = if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                return Err(Denial::MalformedRequest("broken percent-encoding"));
            };
            let plain = (high * 16 + low) as u8;
            if plain == b'/' {
                return Err(Denial::MalformedRequest("encoded slash in path"));
            }
            plain
        } else {
            byte
        };
        if !is_plain(plain) {
            return Err(Denial::MalformedRequest("character not allowed in path"));
        }
        path.push(char::from(plain));
    }
    Ok(path)
}

/// What may stand in a decoded path: RFC 3986 without the percent sign and the semicolon.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'('
        | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_per_path() {
        for (raw, canonical) in [
            ("/", "/"),
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/v1/models/", "/v1/models/"),
            ("/v1beta/models/gemini-pro%3AgenerateContent", "/v1beta/models/gemini-pro:generateContent"),
            ("/%76%31/models", "/v1/models"),
            ("/v1/models/..a", "/v1/models/..a"),
        ] {
            assert_eq!(
                CanonicalPath::parse(raw).map(|path| path.as_str().to_owned()),
                Ok(canonical.to_owned()),
                "{raw}"
            );
        }
    }

    #[test]
    fn a_list_opens_what_it_spells_and_no_list_everything() {
        let path = |text| CanonicalPath::parse(text).expect("a plain path");
        let some = OpenPaths::only([path("/v1/models")]);
        for (asked, expected) in [
            ("/v1/models", Ok(())),
            ("/v1/models/", Err(Denial::RouteClosed)),
            ("/v1/models/gpt-4o", Err(Denial::RouteClosed)),
            ("/models", Err(Denial::RouteClosed)),
        ] {
            assert_eq!(some.check(&path(asked)), expected, "{asked}");
            assert_eq!(OpenPaths::default().check(&path(asked)), Ok(()));
        }
        assert_eq!(OpenPaths::only([]).check(&path("/v1/models")), Err(Denial::RouteClosed));
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for raw in [
            "",
            "*",
            "v1/models",
            "http://host/v1",
            "//v1/models",
            "/v1//models",
            "/v1/./models",
            "/v1/../key/info",
            "/v1/%2e%2e/key/info",
            "/v1/.%2e/key",
            "/v1/%2E/key",
            "/v1%2fmodels",
            "/v1%2Fmodels",
            "/v1\\models",
            "/v1%5cmodels",
            "/v1/models;a=b",
            "/v1/models%3b",
            "/v1/models%00",
            "/v1/models%0d%0a",
            "/v1/mod%els",
            "/v1/models%2",
            "/v1/models%zz",
            "/v1/models%25",
            "/v1/mo dels",
            "/v1/models%20",
            "/v1/m\u{f6}dels",
            "/v1/models%c3%b6",
            "/v1/models%3fkey",
            "/v1/models#a",
            "/v1/models%7f",
        ] {
            assert!(matches!(CanonicalPath::parse(raw), Err(Denial::MalformedRequest(_))), "{raw:?} was accepted");
        }
        assert!(CanonicalPath::parse(&format!("/{}", "a".repeat(MAX_TARGET))).is_err());
    }
}
