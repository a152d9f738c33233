//! The addresses under which clients reach this gateway: what the `htu` of a DPoP proof is compared with.

use std::str::FromStr;

use url::{Origin, Url};

use crate::path::CanonicalPath;

/// An address of this gateway as its clients write it, such as `https://llm.example.com` or, where a proxy in front takes
/// a part of the path away, `https://example.com/llm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: Origin,
    /// What stands before the path that arrives here; without a slash at its end.
    prefix: String,
}

/// The text is no such address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address such as https://llm.example.com, without user, query and fragment")]
pub struct NotAPublicUrl;

impl FromStr for PublicUrl {
    type Err = NotAPublicUrl;

    fn from_str(text: &str) -> Result<Self, NotAPublicUrl> {
        let (url, path) = read(text).ok_or(NotAPublicUrl)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(NotAPublicUrl);
        }
        Ok(Self { origin: url.origin(), prefix: path.as_str().trim_end_matches('/').to_owned() })
    }
}

impl PublicUrl {
    /// Whether `htu` names this path at this address. Both are normalised first (RFC 3986, sections 6.2.2 and 6.2.3): case
    /// of scheme and host, default port, percent-encoding, dot segments. A query or fragment makes no difference.
    #[must_use]
    pub fn names(&self, htu: &str, path: &CanonicalPath) -> bool {
        let Some((url, named)) = read(htu) else { return false };
        url.origin() == self.origin && named.as_str().strip_prefix(&self.prefix) == Some(path.as_str())
    }
}

/// Reads an absolute URL of http or https and its path. The parser is that of browsers and repairs what RFC 3986 has no
/// place for; that is refused instead.
fn read(text: &str) -> Option<(Url, CanonicalPath)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_web = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if !is_web || !is_plain || rest.starts_with('/') {
        return None;
    }
    let url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let path = CanonicalPath::parse(url.path()).ok()?;
    Some((url, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, good) in [
            ("https://llm.example.com", true),
            ("https://llm.example.com/", true),
            ("http://localhost:4000", true),
            ("https://[2001:db8::1]:8443/llm", true),
            ("llm.example.com", false),
            ("https:llm.example.com", false),
            ("https:///llm.example.com", false),
            ("https://user@llm.example.com", false),
            ("https://llm.example.com/?a=b", false),
            ("https://llm.example.com/#a", false),
            ("https://llm.example.com/a//b", false),
            ("ftp://llm.example.com", false),
            ("https://", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<PublicUrl>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn one_uri_in_all_its_spellings_and_no_other() {
        const PATH: &str = "/v1/chat/completions";
        for (own, htu, named) in [
            ("https://a.example", "https://a.example/v1/chat/completions", true),
            ("https://a.example/", "https://a.example/v1/chat/completions", true),
            ("https://a.example", "HTTPS://A.Example:443/v1/chat/completions", true),
            ("https://a.example:443", "https://a.example/v1/%63hat/completions", true),
            ("https://a.example", "https://a.example/v1/./x/../chat/completions", true),
            ("https://a.example", "https://a.example/v1/chat/completions?a=b#c", true),
            ("http://a.example:4000", "http://a.example:4000/v1/chat/completions", true),
            ("https://a.example/llm", "https://a.example/llm/v1/chat/completions", true),
            ("https://a.example/llm/", "https://a.example/llm/v1/chat/completions", true),
            ("https://a.example", "http://a.example/v1/chat/completions", false),
            ("https://a.example", "https://b.example/v1/chat/completions", false),
            ("https://a.example", "https://a.example.evil/v1/chat/completions", false),
            ("https://a.example", "https://a.example:8443/v1/chat/completions", false),
            ("https://a.example", "https://a.example@b.example/v1/chat/completions", false),
            ("https://a.example", "https://user@a.example/v1/chat/completions", false),
            ("https://a.example", "https://a.example/v1/chat/completions/", false),
            ("https://a.example", "https://a.example/v1/Chat/completions", false),
            ("https://a.example", "https://a.example//v1/chat/completions", false),
            ("https://a.example", "https://a.example/v1%2Fchat/completions", false),
            ("https://a.example", "https://a.example/llm/v1/chat/completions", false),
            ("https://a.example/llm", "https://a.example/v1/chat/completions", false),
            ("https://a.example/llm", "https://a.example/llmv1/chat/completions", false),
            ("https://a.example", "https:\\\\a.example\\v1\\chat\\completions", false),
            ("https://a.example", "https:a.example/v1/chat/completions", false),
            ("https://a.example", " https://a.example/v1/chat/completions", false),
            ("https://a.example", "https://a.example/v1/chat/comple\ttions", false),
            ("https://a.example", "/v1/chat/completions", false),
            ("https://a.example", "", false),
        ] {
            let own: PublicUrl = own.parse().unwrap();
            let path = CanonicalPath::parse(PATH).unwrap();
            assert_eq!(own.names(htu, &path), named, "{own:?} {htu}");
        }
    }
}
